"""Pascal VOC and Cityscapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.datasets.dataset import IGNORE
from tasks.datasets.layouts.cityscapes import TRAINED
from tasks.datasets.layouts.voc import palette
from tasks.datasets.open import open_dataset
from tests.tasks.datasets.conftest import save
from tests.tasks.datasets.layouts.conftest import whole

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def test_voc(tmp_path: Path, rng: np.random.Generator) -> None:
    base = tmp_path / "VOC2012"
    colours = [int(palette(i)[k : k + 2], 16) for i in range(256) for k in (1, 3, 5)]
    truth = rng.integers(0, 21, (12, 17)).astype(np.uint8)
    truth[0] = 255
    for name in ("2007_1", "2007_2", "2007_3"):
        save(base / "JPEGImages" / f"{name}.jpg", rng.integers(0, 256, (12, 17, 3)).astype(np.uint8))
        mask = Image.fromarray(truth)
        mask.putpalette(colours)
        (base / "SegmentationClass").mkdir(parents=True, exist_ok=True)
        mask.save(base / "SegmentationClass" / f"{name}.png")
    sets = base / "ImageSets" / "Segmentation"
    sets.mkdir(parents=True)
    (sets / "train.txt").write_text("2007_1\n", encoding="utf-8")
    (sets / "val.txt").write_text("2007_3\n", encoding="utf-8")
    (sets / "trainval.txt").write_text("2007_1\n2007_3\n", encoding="utf-8")
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "voc"
    assert [(i.id, i.split) for i in dataset.items] == [("2007_1", "train"), ("2007_3", "val")]
    # the published colours of three classes
    by_name = {c.name: c.colour for c in dataset.classes}
    assert (by_name["aeroplane"], by_name["person"], by_name["tvmonitor"]) == (
        "#800000",
        "#c08080",
        "#004080",
    )
    expected = truth.astype(int)
    expected[0] = IGNORE
    np.testing.assert_array_equal(whole(dataset, "2007_1", tmp_path)[1], expected)


def test_cityscapes_label_ids_become_train_ids(tmp_path: Path) -> None:
    labels = np.arange(34, dtype=np.uint8).reshape(2, 17)
    save(tmp_path / "leftImg8bit/val/ulm/ulm_0_0_leftImg8bit.png", np.zeros((2, 17, 3), np.uint8))
    save(tmp_path / "gtFine/val/ulm/ulm_0_0_gtFine_labelIds.png", labels)
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.items[0].split, len(dataset.classes)) == ("cityscapes", "val", 19)
    truth = whole(dataset, "val/ulm/ulm_0_0", tmp_path)[1].ravel()
    assert {i: int(truth[i]) for i in (7, 8, 11, 26, 33)} == {7: 0, 8: 1, 11: 2, 26: 13, 33: 18}
    assert {i for i in range(34) if truth[i] != IGNORE} == {label for label, _, _ in TRAINED}
