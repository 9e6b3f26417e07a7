"""Every layout, made tiny: which items, classes and splits, and what truth says per pixel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import geopandas
import nibabel as nib
import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.features import rasterize
from shapely.geometry import Polygon, box
from skimage.draw import polygon2mask
from skimage.segmentation import find_boundaries

from tasks.datasets.coco_truth import decode_counts
from tasks.datasets.dataset import IGNORE, Dataset
from tasks.datasets.layouts.cityscapes import TRAINED
from tasks.datasets.layouts.voc import palette
from tasks.datasets.open import open_dataset
from tasks.datasets.pair import open_pair
from tasks.errors import InputError, UsageError
from tests.tasks.datasets.conftest import NORTH_UP, save, write_json

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def whole(dataset: Dataset, id: str, scratch: Path) -> tuple[np.ndarray, np.ndarray]:
    (item,) = (i for i in dataset.items if i.id == id)
    pair = open_pair(dataset, item, scratch=scratch)
    window = tuple(slice(0, n) for n in pair.shape)
    try:
        return pair.image(window), pair.truth(window)
    finally:
        pair.close()


def assert_windows_agree(dataset: Dataset, id: str, scratch: Path) -> None:
    (item,) = (i for i in dataset.items if i.id == id)
    image, truth = whole(dataset, id, scratch)
    pair = open_pair(dataset, item, scratch=scratch)
    for rows, columns in [((0, 7), (3, 11)), ((5, 17), (0, 9)), ((6, 7), (8, 9))]:
        window = (slice(*rows), slice(*columns))
        np.testing.assert_array_equal(pair.image(window), image[window])
        np.testing.assert_array_equal(pair.truth(window), truth[window])
    pair.close()


def test_pairs_without_a_word_take_classes_from_the_masks(make_pairs: Callable[..., Path]) -> None:
    root = make_pairs(3)
    dataset = open_dataset(root)
    assert dataset.layout == "pairs"
    assert [item.id for item in dataset.items] == ["p0", "p1", "p2"]
    assert [c.code for c in dataset.classes] == [0, 1, 2]
    assert [c.name for c in dataset.channels] == ["grey"]
    image, truth = whole(dataset, "p1", root / "scratch")
    np.testing.assert_array_equal(image[..., 0], np.asarray(Image.open(root / "images/p1.png")))
    np.testing.assert_array_equal(truth, np.asarray(Image.open(root / "masks/p1.png")))


def test_pairs_with_a_file(make_pairs: Callable[..., Path], tmp_path: Path) -> None:
    root = make_pairs(
        classes=[{"name": "sky", "values": [2]}, {"name": "ground", "code": 7, "values": [0], "colour": "#112233"}],
        ignore=[1],
        channels=["near infrared"],
        splits={"train": ["p0", "p1"], "val": ["p2"], "test": ["p3*"]},
    )  # fmt: skip
    dataset = open_dataset(root)
    assert [(c.name, c.code, c.colour) for c in dataset.classes] == [
        ("sky", 0, "#000000"),
        ("ground", 7, "#112233"),
    ]
    assert [i.split for i in dataset.items] == ["train", "train", "val", "test"]
    _, truth = whole(dataset, "p0", tmp_path)
    raw = np.asarray(Image.open(root / "masks/p0.png"))
    np.testing.assert_array_equal(truth, np.choose(raw, [7, IGNORE, 0]))


def test_pairs_in_folders_of_splits(tmp_path: Path, rng: np.random.Generator) -> None:
    for split in ("train", "val", "test"):
        for suffix in (".png", ".jpg"):
            colour = rng.integers(0, 256, (9, 8, 3)).astype(np.uint8)
            save(tmp_path / split / "images" / "deep" / f"a{suffix[1]}{suffix}", colour)
            save(tmp_path / split / "masks" / "deep" / f"a{suffix[1]}_mask.png", np.eye(9, 8, dtype=np.uint8))
    dataset = open_dataset(tmp_path)
    assert [(i.id, i.split) for i in dataset.items] == [
        (f"{s}/deep/{name}", s) for s in ("test", "train", "val") for name in ("aj", "ap")
    ]
    assert all(i.truth is not None for i in dataset.items)
    assert [c.name for c in dataset.channels] == ["red", "green", "blue"]
    assert dataset.details["truth_without_image"] == []


def test_yaml_names_classes_too(make_pairs: Callable[..., Path]) -> None:
    root = make_pairs(1)
    (root / "dataset.yaml").write_text(
        "classes: {void: 0, cell: 1, wall: 2}\nlicence: CC0\n", encoding="utf-8"
    )
    dataset = open_dataset(root)
    assert [(c.name, c.code) for c in dataset.classes] == [("void", 0), ("cell", 1), ("wall", 2)]
    assert dataset.details["licence"] == "CC0"


def test_geotiff_with_masks_keeps_spacing_and_nodata(tmp_path: Path, rng: np.random.Generator) -> None:
    values = rng.integers(1, 256, (18, 13, 4)).astype(np.uint8)
    values[2, 3] = 0
    save(tmp_path / "images/a.tif", values, nodata=0)
    mask = rng.integers(0, 2, (18, 13)).astype(np.uint8)
    mask[9, 9] = 255
    save(tmp_path / "masks/a.tif", mask)
    write_json(
        tmp_path / "dataset.json",
        {"layout": "geotiff", "classes": [{"name": "land"}, {"name": "water"}], "ignore": [255]},
    )
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, len(dataset.channels)) == ("geotiff", 4)
    _, truth = whole(dataset, "a", tmp_path)
    expected = mask.astype(int)
    expected[2, 3] = expected[9, 9] = IGNORE
    np.testing.assert_array_equal(truth, expected)
    pair = open_pair(dataset, dataset.items[0], scratch=tmp_path)
    assert pair.spacing == (2.0, 2.0)
    assert not pair.valid((slice(2, 3), slice(3, 4))).any()
    pair.close()
    assert_windows_agree(dataset, "a", tmp_path)


@pytest.mark.parametrize(
    ("suffix", "crs"), [("gpkg", "EPSG:32632"), ("geojson", "EPSG:4326"), ("shp", "EPSG:3857")]
)
def test_vector_labels_are_burned_on_the_images_grid(tmp_path: Path, suffix: str, crs: str) -> None:
    save(tmp_path / "images/a.tif", np.ones((40, 30), np.uint8))
    x, y = NORTH_UP.c, NORTH_UP.f
    shapes = [
        box(x + 5.3, y - 41.7, x + 33.6, y - 11.4),
        Polygon([(x + 20, y - 70), (x + 55, y - 60), (x + 31, y - 20)]),
    ]
    frame = geopandas.GeoDataFrame({"use": ["meadow", "lake"]}, geometry=shapes, crs="EPSG:32632")
    (tmp_path / "labels").mkdir()
    frame.to_crs(crs).to_file(tmp_path / f"labels/a.{suffix}")
    classes = [
        {"name": "other"},
        {"name": "green", "values": ["meadow", "forest"]},
        {"name": "blue", "values": ["lake"]},
    ]
    write_json(tmp_path / "dataset.json", {"attribute": "use", "classes": classes})
    dataset = open_dataset(tmp_path)
    _, truth = whole(dataset, "a", tmp_path)
    expected = rasterize([(shapes[0], 1), (shapes[1], 2)], out_shape=(40, 30), transform=NORTH_UP)
    assert set(np.unique(expected)) == {0, 1, 2}
    np.testing.assert_array_equal(truth, expected)
    assert_windows_agree(dataset, "a", tmp_path)


def test_one_vector_file_for_all_and_unknown_attribute_values(tmp_path: Path) -> None:
    save(tmp_path / "images/a.tif", np.ones((10, 10), np.uint8))
    shape = box(NORTH_UP.c, NORTH_UP.f - 10, NORTH_UP.c + 10, NORTH_UP.f)
    frame = geopandas.GeoDataFrame({"use": ["swamp"]}, geometry=[shape], crs="EPSG:32632")
    frame.to_file(tmp_path / "all.gpkg")
    classes = [{"name": "other"}, {"name": "lake"}]
    write_json(tmp_path / "dataset.json", {"labels": "all.gpkg", "attribute": "use", "classes": classes})
    dataset = open_dataset(tmp_path)
    with pytest.raises(InputError, match=r"all\.gpkg: attribute use is 'swamp', which no class lists"):
        whole(dataset, "a", tmp_path)
    write_json(tmp_path / "dataset.json", {"labels": "all.gpkg", "classes": classes, "outside": "ignore"})
    _, truth = whole(open_dataset(tmp_path), "a", tmp_path)
    expected = np.full((10, 10), IGNORE)
    expected[:5, :5] = 1
    np.testing.assert_array_equal(truth, expected)


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


def volume_files(root: Path, *, modalities: int, rng: np.random.Generator) -> np.ndarray:
    affine = np.diag([-1.0, 2.0, 3.0, 1.0])
    values = rng.normal(size=(5, 6, 7, modalities)).astype(np.float32)
    labels = rng.integers(0, 3, (5, 6, 7)).astype(np.uint8)
    for m in range(modalities):
        save(root / f"imagesTr/case_1_{m:04d}.nii.gz", values[..., m], affine=affine)
    save(root / "imagesTr/case_1.nii.gz", values if modalities > 1 else values[..., 0], affine=affine)
    save(root / "labelsTr/case_1.nii.gz", labels, affine=affine)
    return labels


@pytest.mark.parametrize("kind", ["nnunet v2", "nnunet v1", "decathlon"])
def test_volumes(tmp_path: Path, rng: np.random.Generator, kind: str) -> None:
    labels = volume_files(tmp_path, modalities=2, rng=rng)
    training = [{"image": "./imagesTr/case_1.nii.gz", "label": "./labelsTr/case_1.nii.gz"}]
    value = {
        "modality": {"0": "T1", "1": "T2"},
        "labels": {"0": "bg", "1": "left", "2": "right"},
        "training": training,
    }
    if kind == "nnunet v2":
        names = {"channel_names": {"0": "T1", "1": "T2"}, "file_ending": ".nii.gz", "numTraining": 1}
        value = names | {"labels": {"bg": 0, "left": 1, "ignore": 2}}
    if kind == "decathlon":
        for path in tmp_path.glob("imagesTr/*_000?.nii.gz"):
            path.unlink()
    else:
        (tmp_path / "imagesTr/case_1.nii.gz").unlink()
    write_json(tmp_path / "dataset.json", value)
    dataset = open_dataset(tmp_path)
    assert dataset.layout == kind.split()[0]
    assert [c.name for c in dataset.channels] == ["T1", "T2"]
    assert [i.id for i in dataset.items] == ["case_1"]
    assert dataset.ndim == 3
    image, truth = whole(dataset, "case_1", tmp_path / "scratch")
    # canonical z y x of a file whose first axis runs to the left
    expected = labels[::-1].transpose(2, 1, 0).astype(int)
    if kind == "nnunet v2":
        expected[expected == 2] = IGNORE
    np.testing.assert_array_equal(truth, expected)
    assert image.shape == (7, 6, 5, 2)
    pair = open_pair(dataset, dataset.items[0], scratch=tmp_path / "scratch")
    assert pair.spacing == pytest.approx((3.0, 2.0, 1.0))
    pair.close()


def test_volume_labels_that_overlap_are_refused(tmp_path: Path) -> None:
    write_json(
        tmp_path / "dataset.json",
        {
            "channel_names": {"0": "CT"},
            "labels": {"background": 0, "whole": [1, 2]},
            "file_ending": ".nii.gz",
        },
    )
    with pytest.raises(InputError, match="label 'whole' is a region of several values"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("path", ["../other/x.nii.gz", "/etc/passwd", "a/../../x.nii.gz"])
def test_manifest_paths_stay_inside(tmp_path: Path, path: str) -> None:
    pairs = [{"image": path, "label": "labelsTr/x.nii.gz"}]
    write_json(
        tmp_path / "d/dataset.json",
        {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "a"}, "training": pairs},
    )
    with pytest.raises(InputError, match="lies outside"):
        open_dataset(tmp_path / "d")


def test_border_of_instances_is_their_inner_rim(tmp_path: Path, rng: np.random.Generator) -> None:
    ids = np.zeros((24, 30), np.uint16)
    ids[2:12, 3:14], ids[5:20, 14:25], ids[20:, :6] = 1, 900, 3
    save(tmp_path / "image/a.png", rng.integers(0, 256, (24, 30)).astype(np.uint8))
    save(tmp_path / "instance/a.png", ids)
    write_json(tmp_path / "index.json", [{"id": "a", "split": "test", "kind": "fluo"}])
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.items[0].split) == ("instances", "test")
    assert dataset.items[0].details["kind"] == "fluo"
    _, truth = whole(dataset, "a", tmp_path)
    rim = find_boundaries(ids, connectivity=2, mode="inner")
    np.testing.assert_array_equal(truth, np.where(ids == 0, 0, np.where(rim, 2, 1)))
    assert_windows_agree(dataset, "a", tmp_path)


def test_nuclei(shared_data: Path, tmp_path: Path) -> None:
    dataset = open_dataset(shared_data / "nuclei")
    assert {s: len(dataset.split(s)) for s in ("train", "val", "test")} == {
        "train": 250,
        "val": 0,
        "test": 50,
    }
    assert len(dataset.channels) == 3
    fluo = next(i for i in dataset.items if i.details["kind"] == "fluo")
    image, truth = whole(dataset, fluo.id, tmp_path)
    with rasterio.open(fluo.truth) as f:
        np.testing.assert_array_equal(truth > 0, f.read(1) > 0)
    np.testing.assert_array_equal(image[..., 0], image[..., 2])


def test_ct_organs_as_nnunet(shared_data: Path, tmp_path: Path) -> None:
    for name, target in (("example_ct", "imagesTr/ct_0000"), ("example_seg_fast_force_split", "labelsTr/ct")):
        (tmp_path / target).parent.mkdir()
        (tmp_path / f"{target}.nii.gz").symlink_to(shared_data / "ct-organs" / f"{name}.nii.gz")
    labels = {"background": 0, "spleen": 1, "liver": 5} | {f"v{i}": i for i in range(2, 118) if i != 5}
    write_json(
        tmp_path / "dataset.json", {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".nii.gz"}
    )
    dataset = open_dataset(tmp_path)
    image, truth = whole(dataset, "ct", tmp_path / "scratch")
    voxel = abs(np.linalg.det(nib.load(tmp_path / "imagesTr/ct_0000.nii.gz").affine[:3, :3])) / 1000
    # as the data's own notes say
    assert (truth == 5).sum() * voxel == pytest.approx(1125.684, abs=0.01)
    assert image[truth == 5].mean() == pytest.approx(44.46, abs=0.01)


def test_words_for_what_is_no_data_set(tmp_path: Path, make_pairs: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="is no folder"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no images in a folder"):
        open_dataset(tmp_path)
    with pytest.raises(UsageError, match="there is no layout 'vocc'"):
        open_dataset(tmp_path, layout="vocc")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"unknown key 'clases'; did you mean 'classes'\?"):
        open_dataset(make_pairs(1, clases=["a"]))
    (tmp_path / "pairs/dataset.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"dataset\.json is damaged"):
        open_dataset(tmp_path / "pairs")
