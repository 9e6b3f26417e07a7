"""Items at another spacing: against scipy and arithmetic, the same by any window, boxes kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from tasks.datasets.dataset import Dataset
from tasks.datasets.lattice import LatticePair, open_at, window_of
from tasks.datasets.open import open_dataset
from tasks.datasets.positions import find_positions
from tasks.datasets.sampler import StreamingSampler
from tasks.datasets.splits import Part
from tasks.resampling.geometry import lattice_box, lattice_shape, source_window, steps_to
from tests.tasks.datasets.conftest import save, write_json

SPACING = (3.0, 1.2, 1.2)
ITEMS = {"coarse": (5.0, 1.5, 0.8), "fine": (2.0, 1.0, 1.0)}
EXTENT = (60.0, 48.0, 48.0)


def centres(spacing: tuple[float, ...]) -> list[np.ndarray]:
    """Of voxels in mm per axis, from the object's corner."""
    axes = [(np.arange(round(e / s)) + 0.5) * s for e, s in zip(EXTENT, spacing, strict=True)]
    return np.meshgrid(*axes, indexing="ij")


def scan(spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """An object of known mm: its intensity is a plane, its organ an ellipsoid."""
    z, y, x = centres(spacing)
    organ = ((z - 30) / 21) ** 2 + ((y - 24) / 15) ** 2 + ((x - 20) / 12) ** 2 < 1
    return (3 * z + 5 * y - 2 * x).astype(np.float32), organ.astype(np.uint8)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("scans")
    for name, spacing in ITEMS.items():
        affine = np.diag([*reversed(spacing), 1.0])
        image, organ = scan(spacing)
        save(root / f"imagesTr/{name}_0000.nii.gz", image.transpose(2, 1, 0), affine=affine)
        save(root / f"labelsTr/{name}.nii.gz", organ.transpose(2, 1, 0), affine=affine)
    labels = {"background": 0, "organ": 1}
    write_json(
        root / "dataset.json",
        {"channel_names": {"0": "T1"}, "labels": labels, "numTraining": 2, "file_ending": ".nii.gz"},
    )
    return open_dataset(root)


def read(dataset: Dataset, name: str, scratch: Path) -> tuple[np.ndarray, np.ndarray]:
    item = next(i for i in dataset.items if i.id.endswith(name))
    pair = open_at(dataset, item, spacing=SPACING, scratch=scratch)
    pixels, truth = pair.read(window_of(pair, None))
    assert pixels.valid.all()
    assert pair.spacing == pytest.approx(SPACING)
    pair.close()
    return pixels.values[..., 0], truth


def test_scans_of_one_object_become_one_object(scans: Dataset, tmp_path: Path) -> None:
    z, y, x = centres(SPACING)
    found = {name: read(scans, name, tmp_path) for name in ITEMS}
    inner = (slice(1, -1),) * 3
    for image, truth in found.values():
        assert image.shape == truth.shape == (20, 40, 40)
        # linear interpolation of a plane is the plane, wherever voxels lie on both sides
        np.testing.assert_allclose(image[inner], (3 * z + 5 * y - 2 * x)[inner], atol=1e-3)
        volume = truth.sum() * np.prod(SPACING)
        assert volume == pytest.approx(4 / 3 * np.pi * 21 * 15 * 12, rel=0.03)
    one, other = (truth for _, truth in found.values())
    assert 2 * (one & other).sum() / (one.sum() + other.sum()) > 0.93


@pytest.mark.parametrize("name", ITEMS)
def test_a_drawn_tile_is_what_scipy_samples(scans: Dataset, name: str, tmp_path: Path) -> None:
    have = ITEMS[name]
    image, organ = scan(have)
    whole = tuple(round(e / s) for e, s in zip(EXTENT, SPACING, strict=True))
    at = [(np.arange(n) + 0.5) * w / h - 0.5 for n, w, h in zip(whole, SPACING, have, strict=True)]
    grid = np.stack(np.meshgrid(*at, indexing="ij"))
    wanted = ndimage.map_coordinates(image.astype(float), grid, order=1, mode="nearest")
    near = [
        np.clip(np.floor(a + 0.5 + 1e-6).astype(int), 0, n - 1) for a, n in zip(at, organ.shape, strict=True)
    ]
    labels = organ[np.ix_(*near)]
    part = next(Part(i) for i in scans.items if i.id.endswith(name))
    drawn = StreamingSampler(
        scans, [part], tile=(8, 16, 16), scratch=tmp_path, spacing=SPACING, balance={1: 0.5}
    )
    blocks = np.lib.stride_tricks.sliding_window_view(wanted, (8, 16, 16))
    for _ in range(6):
        tile, truth = drawn.draw()
        distance = np.abs(blocks[..., 0, 0, 0] - tile[0, 0, 0, 0]) + np.abs(
            blocks[..., -1, -1, -1] - tile[-1, -1, -1, 0]
        )
        places = np.argwhere(distance < 1e-2)
        matching = [
            tuple(p) for p in places
            if np.allclose(blocks[tuple(p)], tile[..., 0], atol=1e-3)
            and np.array_equal(labels[tuple(slice(a, a + n) for a, n in zip(p, truth.shape, strict=True))], truth)
        ]  # fmt: skip
        assert matching
    drawn.close()


def test_windows_are_the_whole_bit_for_bit(scans: Dataset, tmp_path: Path, rng: np.random.Generator) -> None:
    image, truth = read(scans, "coarse", tmp_path)
    item = next(i for i in scans.items if i.id.endswith("coarse"))
    pair = open_at(scans, item, spacing=SPACING, scratch=tmp_path)
    for _ in range(10):
        start = [int(rng.integers(n)) for n in pair.shape]
        window = tuple(
            slice(a, int(rng.integers(a + 1, n + 1))) for a, n in zip(start, pair.shape, strict=True)
        )
        pixels, labels = pair.read(window)
        np.testing.assert_array_equal(pixels.values[..., 0], image[window])
        np.testing.assert_array_equal(labels, truth[window])
    pair.close()


def test_pixels_count_alike_whatever_their_size(scans: Dataset, tmp_path: Path) -> None:
    parts = [Part(item) for item in scans.items]
    found = find_positions(scans, parts, scratch=tmp_path, spacing=SPACING)
    assert sum(found.counts.values()) == 2 * 20 * 40 * 40
    of_item = np.bincount(found.places[1][:, 0], minlength=2)
    # by voxels of the files it would be one to 2.5
    assert of_item[0] == pytest.approx(of_item[1], rel=0.06)
    drawn = StreamingSampler(
        scans, parts, tile=(8, 16, 16), scratch=tmp_path, spacing=SPACING, positions=found
    )
    np.testing.assert_allclose(drawn._share, 0.5)


def test_gaps_have_no_part_in_their_neighbours(tmp_path: Path) -> None:
    values = np.full((8, 6), 10, np.int16)
    values[:, 2:] = -9999
    save(tmp_path / "images/a.tif", values, nodata=-9999)
    save(tmp_path / "masks/a.tif", np.ones((8, 6), np.uint8))
    write_json(tmp_path / "dataset.json", {"classes": ["rest", "thing"]})
    dataset = open_dataset(tmp_path)
    # pixels of 2 m become 2.6 m: the second column lies at 1.45 of them, between a known and a lost one
    pair = open_at(dataset, dataset.items[0], spacing=(2.0, 2.6), scratch=tmp_path)
    pixels, truth = pair.read(window_of(pair, None))
    assert pixels.valid.tolist() == [[True, True, False, False, False]] * 8
    np.testing.assert_array_equal(pixels.values[..., 0], [[10, 10, 0, 0, 0]] * 8)
    assert truth.tolist() == [[1, 1, -1, -1, -1]] * 8
    pair.close()


@pytest.mark.parametrize("step", [0.3, 0.8, 1.0, 1.7, 4.0])
def test_a_box_on_the_lattice_reads_nothing_beyond_it(step: float) -> None:
    shape, steps = (100, 40), (step, 1.0)
    covered = np.zeros(lattice_shape(shape, steps)[0], int)
    for low, high in ((0, 75), (75, 100)):
        box = lattice_box((slice(low, high), slice(0, 40)), shape, steps)
        source = source_window(box, shape, steps)[0]
        assert low <= source.start < source.stop <= high
        covered[box[0]] += 1
    assert covered.max() == 1
    assert (covered == 0).sum() <= 1 / step + 1


def test_what_is_near_enough_is_taken_as_it_is(scans: Dataset, tmp_path: Path) -> None:
    assert steps_to((2.0, 1.0, 1.0), (2.03, 1.0, 2.0), ndim=3) == (1.0, 1.0, 2.0)
    # a 2-D model's spacing says nothing of the axis across its slices
    assert steps_to((2.0, 1.0, 1.0), (3.0, 1.0), ndim=3) == (1.0, 3.0, 1.0)
    assert steps_to(None, (3.0, 1.0), ndim=2) == (1.0, 1.0)
    fine = next(i for i in scans.items if i.id.endswith("fine"))
    pair = open_at(scans, fine, spacing=(2.01, 1.0, 1.0), scratch=tmp_path)
    assert not isinstance(pair, LatticePair)
    pair.close()
