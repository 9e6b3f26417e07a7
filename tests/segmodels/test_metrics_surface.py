"""Surface distances: by hand, and against SciPy's distance transform on random masks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from segmodels.metrics import mask_scores
from segmodels.metrics.surface import borders, surface_positions, surface_scores


def blobs(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Smooth random masks, some of them at the border of the image."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return noise > 0.02


def reference(
    a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...], tolerance: float
) -> tuple[float, ...]:
    """HD95, ASSD and surface Dice from erosions and distance transforms of the whole image."""
    edges = [m ^ ndimage.binary_erosion(m) for m in (a, b)]
    away = [ndimage.distance_transform_edt(~e, sampling=spacing) for e in edges]
    there, back = away[0][edges[1]], away[1][edges[0]]
    both = np.concatenate([there, back])
    return max(np.percentile(there, 95), np.percentile(back, 95)), both.mean(), (both <= tolerance).mean()


@pytest.mark.parametrize(
    ("shape", "spacing", "tolerance"),
    [
        ((83, 61), (1.0, 1.0), 1.0),
        ((70, 90), (0.7, 2.5), 2.5),
        ((31, 40, 37), (1.0, 1.0, 1.0), 2.0),
        ((19, 42, 33), (3.0, 0.8, 0.8), 1.6),
    ],
)
def test_against_the_distance_transform(
    shape: tuple[int, ...], spacing: tuple[float, ...], tolerance: float
) -> None:
    a, b = blobs(shape, 1), np.roll(blobs(shape, 1) ^ (blobs(shape, 2) & blobs(shape, 3)), 1, axis=0)
    found = mask_scores(a, b, spacing, tolerance=tolerance)
    wanted = reference(a, b, spacing, tolerance)
    assert (found.hd95, found.assd, found.surface_dice) == pytest.approx(wanted, abs=1e-9)
    assert found.status == "ok"


def test_two_cubes_one_voxel_apart() -> None:
    a, b = np.zeros((9, 9, 9), bool), np.zeros((9, 9, 9), bool)
    a[2:5, 2:5, 2:5] = True
    b[3:6, 2:5, 2:5] = True
    # Of 26 surface voxels each, those of the nine in the far face and the one that meets the
    # other's hollow centre lie one step of 4 mm, or one of 1 mm within the plane, away.
    s = mask_scores(a, b, (4, 1, 1), tolerance=1)
    assert s.hd95 == 4
    assert s.assd == pytest.approx((9 * 4 + 1 * 1) / 26)
    assert s.surface_dice == pytest.approx(17 / 26)
    assert mask_scores(a, b, (4, 1, 1), tolerance=0.99).surface_dice == pytest.approx(16 / 26)
    assert mask_scores(a, b, (4, 1, 1), tolerance=4).surface_dice == 1


def test_planes_at_a_known_distance() -> None:
    a, b = np.zeros((8, 12, 12), bool), np.zeros((8, 12, 12), bool)
    a[1], b[4] = True, True
    s = mask_scores(a, b, (2.5, 1, 1), tolerance=7.5)
    assert (s.hd95, s.assd, s.surface_dice) == (7.5, 7.5, 1)
    assert mask_scores(a, b, (2.5, 1, 1), tolerance=7.4).surface_dice == 0


def test_equal_masks_are_at_distance_zero() -> None:
    a = blobs((30, 30), 5)
    s = mask_scores(a, a, (1, 2), tolerance=0)
    assert (s.hd95, s.assd, s.surface_dice) == (0, 0, 1)


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [(0, 0, "absent from both"), (1, 0, "absent from the prediction"), (0, 1, "absent from the truth")],
)
def test_an_empty_mask_has_no_distance(first: int, second: int, status: str) -> None:
    s = mask_scores(np.full((3, 4), first), np.full((3, 4), second), (1, 1), tolerance=1)
    assert s.status == status
    assert all(math.isnan(v) for v in (s.hd95, s.assd, s.surface_dice))


@pytest.mark.parametrize("seed", range(3))
def test_windows_with_a_margin_give_the_whole_surface(seed: int) -> None:
    mask = blobs((23, 18, 27), seed)
    wanted = {tuple(p) for p in np.argwhere(mask ^ ndimage.binary_erosion(mask))}
    found = set()
    for z in range(0, 23, 5):
        for x in range(0, 27, 9):
            low, high = max(z - 1, 0), min(z + 6, 23)
            left, right = max(x - 1, 0), min(x + 10, 27)
            inner = (slice(z - low, min(z + 5, 23) - low), slice(0, 18), slice(x - left, x + 9 - left))
            window = mask[low:high, :, left:right]
            part = np.argwhere(borders(window, inner) & window[inner])
            found |= {tuple(p) for p in part + np.array([z, 0, x])}
    assert found == wanted


def test_disagreeing_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="do not agree"):
        mask_scores(np.ones((3, 3)), np.ones((3, 4)), (1, 1), tolerance=1)
    with pytest.raises(ValueError, match="do not agree"):
        mask_scores(np.ones((3, 3)), np.ones((3, 3)), (1, 1, 1), tolerance=1)


def test_threads_change_nothing() -> None:
    a, b = surface_positions(blobs((60, 60), 1)), surface_positions(blobs((60, 60), 2))
    assert surface_scores(a, b, (1, 1), tolerance=1) == surface_scores(a, b, (1, 1), tolerance=1, workers=2)
