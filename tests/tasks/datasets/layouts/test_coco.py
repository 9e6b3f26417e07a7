"""COCO: polygons, run lengths, panoptic pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage.draw import polygon2mask

from tasks.datasets.coco_truth import decode_counts
from tasks.datasets.dataset import IGNORE
from tasks.datasets.open import open_dataset
from tasks.errors import InputError
from tests.tasks.datasets.conftest import save, write_json
from tests.tasks.datasets.layouts.conftest import assert_windows_agree, whole

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def coco(root: Path, annotations: list[dict], categories: list[dict], shape: tuple[int, int]) -> Path:
    save(root / "train2017/im.jpg", np.zeros((*shape, 3), np.uint8))
    image = {"id": 5, "file_name": "im.jpg", "height": shape[0], "width": shape[1]}
    return write_json(
        root / "annotations/instances_train2017.json",
        {"images": [image], "annotations": annotations, "categories": categories},
    )


CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}]


def test_coco_polygons_and_runs(tmp_path: Path) -> None:
    ring = [(2.0, 1.0), (14.0, 3.0), (9.0, 15.0)]
    square = np.zeros((18, 20), np.uint8)
    square[4:8, 6:12] = 1
    flat = square.ravel(order="F")
    ends = np.flatnonzero(np.diff(np.concatenate([[0], flat, [0]])))
    counts = np.diff(np.concatenate([[0], ends, [flat.size]])).tolist()
    if counts[-1] == 0:
        counts.pop()
    annotations = [
        {"id": 1, "image_id": 5, "category_id": 18, "area": 24, "segmentation": {"size": [18, 20], "counts": counts}},
        {"id": 2, "image_id": 5, "category_id": 3, "area": 90, "segmentation": [[v for p in ring for v in p]]},
    ]  # fmt: skip
    coco(tmp_path, annotations, CATEGORIES, (18, 20))
    dataset = open_dataset(tmp_path)
    assert [(c.code, c.name) for c in dataset.classes] == [(0, "background"), (1, "car"), (2, "dog")]
    assert [(i.id, i.split) for i in dataset.items] == [("train/im", "train")]
    # pixel centres lie half a pixel from the corners that COCO counts from
    car = polygon2mask((18, 20), [(y - 0.5, x - 0.5) for x, y in ring])
    expected = np.where(square, 2, car.astype(int))
    _, truth = whole(dataset, "train/im", tmp_path)
    assert (truth != expected).sum() <= 2, "only pixel centres on an edge may differ"
    np.testing.assert_array_equal(truth[square == 1], 2)
    assert_windows_agree(dataset, "train/im", tmp_path)


def encode_counts(counts: list[int]) -> str:
    """Written from the format's description, digit by digit."""
    out = ""
    for i, count in enumerate(counts):
        x = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            digit, x = x & 31, x >> 5
            more = x != (-1 if digit & 16 else 0)
            out += chr(48 + digit + (32 if more else 0))
    return out


@pytest.mark.parametrize("counts", [[0, 5, 3], [7, 1000, 2, 40000, 31, 15, 16, 4], [1, 2, 3, 4, 5, 6]])
def test_compressed_runs(counts: list[int]) -> None:
    assert decode_counts(encode_counts(counts), Path("x.json")) == counts


def test_coco_refuses_damaged_runs_and_paths_outside(tmp_path: Path) -> None:
    wrong = {"id": 1, "image_id": 5, "category_id": 18, "segmentation": {"size": [18, 20], "counts": [3, 4]}}
    path = coco(tmp_path, [wrong], CATEGORIES, (18, 20))
    with pytest.raises(InputError, match="run lengths of annotation 1 do not add up"):
        whole(open_dataset(tmp_path), "train/im", tmp_path)
    text = path.read_text(encoding="utf-8").replace('"im.jpg"', '"../../secret.jpg"')
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"names '\.\./\.\./secret\.jpg', which lies outside"):
        open_dataset(tmp_path)


def test_coco_panoptic(tmp_path: Path) -> None:
    ids = np.zeros((6, 8), np.int64)
    ids[:3], ids[3:, :4] = 300, 70000
    png = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    save(tmp_path / "val2017/im.jpg", np.zeros((6, 8, 3), np.uint8))
    save(tmp_path / "annotations/panoptic_val2017/im.png", png)
    segments = [{"id": 300, "category_id": 18}, {"id": 70000, "category_id": 3}]
    write_json(
        tmp_path / "annotations/panoptic_val2017.json",
        {
            "images": [{"id": 1, "file_name": "im.jpg"}],
            "annotations": [{"image_id": 1, "file_name": "im.png", "segments_info": segments}],
            "categories": CATEGORIES,
        },
    )
    dataset = open_dataset(tmp_path)
    assert [c.name for c in dataset.classes] == ["car", "dog"]
    expected = np.full((6, 8), IGNORE)
    expected[:3], expected[3:, :4] = 1, 0
    np.testing.assert_array_equal(whole(dataset, "val/im", tmp_path)[1], expected)
