"""Tiles from disk: where they come from, how often, and the same again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tasks.datasets.dataset import IGNORE
from tasks.datasets.open import open_dataset
from tasks.datasets.positions import find_positions
from tasks.datasets.sampler import StreamingSampler
from tasks.datasets.splits import Part, make_split
from tasks.errors import InputError
from tests.tasks.datasets.conftest import save, write_json

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
TWO = {"classes": ["rest", "rare"]}


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    """One GeoTIFF whose two bands say row and column, with one rare pixel."""
    rows, columns = np.mgrid[:300, :200].astype(np.uint16)
    save(tmp_path / "images/a.tif", np.stack([rows, columns], -1), tiled=True, blockxsize=64, blockysize=64)
    truth = np.zeros((300, 200), np.uint8)
    truth[123, 45] = 1
    save(tmp_path / "masks/a.tif", truth)
    write_json(tmp_path / "dataset.json", TWO)
    return tmp_path


def sampler(root: Path, **options: object) -> StreamingSampler:
    dataset = open_dataset(root)
    parts = options.pop("parts", None) or [Part(item) for item in dataset.items]
    keywords = {"tile": (32, 48), "scratch": root / "scratch"} | options
    return StreamingSampler(dataset, parts, **keywords)  # type: ignore[arg-type]


@pytest.mark.parametrize("cache_bytes", [1 << 10, 1 << 28])
def test_tiles_are_windows_of_the_image(raster: Path, cache_bytes: int) -> None:
    drawn = sampler(raster, cache_bytes=cache_bytes, balance={})
    for _ in range(20):
        image, labels = drawn.draw()
        assert (image.shape, image.dtype, labels.shape, labels.dtype) == ((32, 48, 2), "f4", (32, 48), "i2")
        top, left = image[0, 0]
        rows, columns = np.mgrid[top : top + 32, left : left + 48]
        np.testing.assert_array_equal(image, np.stack([rows, columns], -1))
        np.testing.assert_array_equal(labels, (rows == 123) & (columns == 45))
    assert drawn._cache.held_bytes <= cache_bytes


def test_share_of_tiles_with_a_rare_class(raster: Path) -> None:
    drawn = sampler(raster, balance={1: 0.4})
    held = [bool((drawn.draw()[1] == 1).any()) for _ in range(300)]
    # by chance alone a tile holds the pixel with 32 · 48 / (269 · 153) = 3.7 %
    expected = 0.4 + 0.6 * 32 * 48 / (269 * 153)
    assert abs(np.mean(held) - expected) < 4 * np.sqrt(expected * (1 - expected) / 300)


def test_placement_is_uniform_without_balance(raster: Path) -> None:
    drawn = sampler(raster, balance={}, tile=(8, 8))
    starts = np.array([drawn.draw()[0][0, 0] for _ in range(400)])
    for axis, last in ((0, 292), (1, 192)):
        mean, std = last / 2, last / np.sqrt(12)
        assert abs(starts[:, axis].mean() - mean) < 4 * std / 20
        assert starts[:, axis].min() < 0.05 * last
        assert starts[:, axis].max() > 0.95 * last


def test_the_same_again_and_resumed(raster: Path) -> None:
    first = sampler(raster, seed=5)
    tiles = [first.draw() for _ in range(12)]
    assert first.state == {"seed": 5, "draws": 12}
    resumed = sampler(raster, seed=5)
    resumed.skip(7)
    again = sampler(raster, seed=5)
    for number, (image, labels) in enumerate(tiles):
        other = again.draw()
        np.testing.assert_array_equal(other[0], image)
        np.testing.assert_array_equal(other[1], labels)
        if number >= 7:
            np.testing.assert_array_equal(resumed.draw()[0], image)
    different = sampler(raster, seed=6).draw()[0]
    assert not np.array_equal(different, tiles[0][0])


def test_images_smaller_than_the_tile_are_mirrored_and_ignored(make_pairs: Callable[..., Path]) -> None:
    root = make_pairs(2, shape=(5, 70), classes=["a", "b", "c"])
    drawn = sampler(root)
    for _ in range(6):
        image, labels = drawn.draw()
        known = np.flatnonzero((labels != IGNORE).any(1))
        assert len(known) == 5
        assert known[-1] - known[0] == 4
        assert (labels[known] != IGNORE).all()
        # numpy's reflect: the row beyond the edge is the row before it
        if known[0] > 0:
            np.testing.assert_array_equal(image[known[0] - 1], image[known[0] + 1])


def test_boxes_are_never_left(raster: Path) -> None:
    dataset = open_dataset(raster)
    split = make_split(dataset, val=0.25, shape=(300, 200))
    for name, low, high in (("train", 0, 226), ("val", 226, 300)):
        drawn = sampler(raster, parts=split[name], balance={})  # type: ignore[index]
        for _ in range(40):
            rows = drawn.draw()[0][..., 0]
            assert low <= rows.min() <= rows.max() < high


def test_positions_are_a_uniform_sample(tmp_path: Path) -> None:
    truth = np.zeros((400, 100), np.uint8)
    truth[:, 50:] = 1
    save(tmp_path / "images/a.tif", np.ones((400, 100), np.uint8))
    save(tmp_path / "masks/a.tif", truth)
    write_json(tmp_path / "dataset.json", TWO)
    dataset = open_dataset(tmp_path)
    parts = [Part(item) for item in dataset.items]
    found = find_positions(dataset, parts, scratch=tmp_path, per_class=2000)
    assert found.counts == {0: 20000, 1: 20000}
    places = found.places[1]
    assert len(np.unique(places, axis=0)) == 2000
    assert (truth[places[:, 1], places[:, 2]] == 1).all()
    assert abs(places[:, 1].mean() - 199.5) < 4 * 400 / np.sqrt(12 * 2000)
    again = find_positions(dataset, parts, scratch=tmp_path, per_class=2000)
    np.testing.assert_array_equal(again.places[1], places)


def test_nodata_is_ignored_and_zero(tmp_path: Path) -> None:
    values = np.full((40, 60), 7, np.uint8)
    values[:20] = 255
    save(tmp_path / "images/a.tif", values, nodata=255)
    save(tmp_path / "masks/a.tif", np.ones((40, 60), np.uint8))
    write_json(tmp_path / "dataset.json", TWO)
    drawn = sampler(tmp_path, tile=(40, 60))
    image, labels = drawn.draw()
    assert set(np.unique(image[:20])) == {0}
    assert (labels[:20] == IGNORE).all()
    assert (labels[20:] == 1).all()
    assert drawn.positions.counts == {0: 0, 1: 20 * 60}


def test_resampling_has_one_lattice(tmp_path: Path) -> None:
    z, y, x = np.mgrid[:10, :12, :14].astype(np.float32)
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    volume = (3 * x + 5 * y + 7 * z).transpose(2, 1, 0)
    save(tmp_path / "imagesTr/a_0000.nii.gz", volume, affine=affine)
    save(tmp_path / "labelsTr/a.nii.gz", (x > 6).transpose(2, 1, 0).astype(np.uint8), affine=affine)
    write_json(
        tmp_path / "dataset.json",
        {"channel_names": {"0": "T1"}, "labels": {"bg": 0, "x": 1}, "file_ending": ".nii.gz"},
    )
    drawn = sampler(tmp_path, tile=(8, 4, 4), spacing=(1.0, 2.0, 2.0), balance={})
    for _ in range(8):
        image, labels = drawn.draw()
        # inside, linear interpolation of a plane is the plane: half a slice and two pixels a step
        np.testing.assert_allclose(np.diff(image[2:-2, :, :, 0], axis=0), 3.5, atol=1e-4)
        np.testing.assert_allclose(np.diff(image[..., 0], axis=1), 10, atol=1e-4)
        np.testing.assert_allclose(np.diff(image[..., 0], axis=2), 6, atol=1e-4)
        # the lattice's columns lie at x = 0.5, 2.5, 4.5, 6.5 …; the nearest of a tie is the upper one
        at = (image[..., 0] - image[..., :1, 0]) / 3
        assert (at[..., -1] == 6).all()
        assert set(np.unique(labels)) <= {0, 1}


def test_nothing_to_draw_from(raster: Path) -> None:
    with pytest.raises(InputError, match="no item to draw tiles from"):
        StreamingSampler(open_dataset(raster), [], tile=(8, 8), scratch=raster)
    with pytest.raises(ValueError, match="not exceed 1"):
        sampler(raster, balance={0: 0.6, 1: 0.6})


def test_splits_are_fixed_by_ids(make_pairs: Callable[..., Path]) -> None:
    root = make_pairs(20, classes=["a", "b", "c"])
    dataset = open_dataset(root)
    split = make_split(dataset, val=0.2, test=0.1)
    ids = {name: {p.item.id for p in parts} for name, parts in split.items()}
    assert {name: len(found) for name, found in ids.items()} == {"train": 14, "val": 4, "test": 2}
    assert set.union(*ids.values()) == {i.id for i in dataset.items}
    assert make_split(dataset, val=0.2, test=0.1) == split
    assert make_split(dataset, val=0.2, test=0.1, seed=1) != split
    with pytest.raises(ValueError, match="leave something"):
        make_split(dataset, val=0.7, test=0.3)


def test_named_splits_are_kept(make_pairs: Callable[..., Path]) -> None:
    names = {"train": [f"p{i}" for i in range(8)], "test": ["p8", "p9"]}
    split = make_split(open_dataset(make_pairs(10, classes=["a", "b", "c"], splits=names)), val=0.25)
    assert {p.item.id for p in split["test"]} == {"p8", "p9"}
    assert (len(split["train"]), len(split["val"])) == (6, 2)
    assert {p.item.id for p in split["train"] + split["val"]} == set(names["train"])


def test_real_naip_is_drawn_by_windows(shared_data: Path, tmp_path: Path) -> None:
    source = min((shared_data / "naip").glob("*.tif"))
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.tif").symlink_to(source)
    with rasterio.open(source) as f:
        bands = f.read()
        mask = (bands[3] < 60).astype(np.uint8)
        save(tmp_path / "masks/a.tif", mask, crs=f.crs, transform=f.transform)
    write_json(tmp_path / "dataset.json", TWO | {"channels": ["red", "green", "blue", "nir"]})
    drawn = sampler(tmp_path, tile=(64, 64), cache_bytes=0)
    image, labels = drawn.draw()
    everywhere = np.moveaxis(bands, 0, -1)
    blocks = np.lib.stride_tricks.sliding_window_view(everywhere[..., 0], (64, 64))
    candidates = np.argwhere((blocks[:, :, 0, :8] == image[0, :8, 0]).all(-1))
    assert any(
        np.array_equal(everywhere[r : r + 64, c : c + 64], image)
        and np.array_equal(mask[r : r + 64, c : c + 64][labels >= 0], labels[labels >= 0])
        for r, c in candidates
    )
