"""The compiled blending against scipy's softmax and plain arithmetic."""

import numpy as np
import pytest
from scipy.special import softmax

from tasks.tiling import kernels

SCALE = 1 << 16


def add(kernel, logits, weights, sums):
    """All of a tile into a box of the same size."""
    nz, ny, nx = weights.shape
    flat = np.ascontiguousarray(logits).reshape(-1)
    place = (0, ny * nx, nx)
    kernel(flat, weights.reshape(-1), sums.reshape(-1), SCALE, (nz, ny, nx), place, place, weights.size)


def logits_of(classes, *, spread, shape=(2, 5, 37)):
    rng = np.random.default_rng(classes)
    return (rng.normal(size=(*shape, classes)) * spread).astype(np.float32)


@pytest.mark.parametrize("spread", [0.1, 3.0, 60.0])
@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
@pytest.mark.parametrize("classes", [3, 4, 9])
def test_quantised_softmax_is_scipys(classes, dtype, spread):
    logits = logits_of(classes, spread=spread)
    weights = np.random.default_rng(0).integers(1, 1 << 12, logits.shape[:-1]).astype(np.uint32)
    sums = np.zeros((classes, *weights.shape), dtype)
    add(kernels.add_softmax, logits, weights, sums)
    found, rest = np.divmod(sums, weights)
    assert not rest.any()
    expected = np.moveaxis(softmax(logits.astype(np.float64), axis=-1), -1, 0) * SCALE
    assert np.abs(found - expected).max() <= 0.52


@pytest.mark.parametrize("spread", [0.1, 3.0, 60.0])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_quantised_difference_is_scipys_and_odd(dtype, spread):
    logits = logits_of(2, spread=spread)
    weights = np.full(logits.shape[:-1], 7, np.uint32)
    sums = np.zeros((1, *weights.shape), dtype)
    add(kernels.add_difference, logits, weights, sums)
    p = softmax(logits.astype(np.float64), axis=-1)
    assert np.abs(sums[0] / 7 - (p[..., 1] - p[..., 0]) * SCALE).max() <= 0.53
    swapped = np.zeros_like(sums)
    add(kernels.add_difference, logits[..., ::-1], weights, swapped)
    np.testing.assert_array_equal(swapped, -sums)
    one = np.zeros_like(sums)
    add(kernels.add_difference, logits[..., 1:] - logits[..., :1], weights, one)
    np.testing.assert_array_equal(one, sums)


def test_an_infinite_lead_is_certain_and_equal_logits_share():
    logits = np.array([[[[500.0, -500.0, 0.0], [4.0, 4.0, 4.0]]]], np.float32)
    sums = np.zeros((3, 1, 1, 2), np.uint32)
    add(kernels.add_softmax, logits, np.ones((1, 1, 2), np.uint32), sums)
    assert sums[:, 0, 0, 0].tolist() == [SCALE, 0, 0]
    assert sums[:, 0, 0, 1].tolist() == [round(SCALE / 3)] * 3


@pytest.mark.parametrize("n", [1, 1023, 1024, 2500])
def test_finishing_takes_the_largest_sum_ties_to_the_lowest(n):
    rng = np.random.default_rng(n)
    sums = rng.integers(1, 5, (4, n)).astype(np.uint32)
    status = (rng.random(n) < 0.2).astype(np.uint8) * kernels.NODATA
    codes, confidence = np.empty(n, np.uint8), np.empty(n, np.uint8)
    kernels.finish_softmax(
        sums,
        status,
        np.array([0, 3, 5, 9], np.uint16),
        np.array([0, 254, 253, 255], np.uint16),
        codes,
        confidence,
    )
    expected = np.array([0, 3, 5, 9])[sums.argmax(0)]
    np.testing.assert_array_equal(codes, np.where(status == 0, expected, 255))
    share = np.floor(sums.max(0) / sums.sum(0) * 255 + 0.5)
    np.testing.assert_array_equal(confidence, np.where(status == 0, share, 0))
