"""Weights and integers: everybody has a vote, no sum overflows, sums do not depend on order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.codes import Codes
from tasks.tiling.blend import add_tile, finish
from tasks.tiling.grid import make_grid
from tasks.tiling.weights import Quantisation, choose_quantisation, profile, tile_weights, weight_sum

BLENDS = ["gaussian", "hann", "constant", "crop"]


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize(
    ("size", "tile", "overlap"), [(50, 16, 4), (50, 16, 8), (50, 16, 12), (7, 16, 4), (1, 4, 2)]
)
def test_weight_sum_is_positive_and_below_the_bound(blend, size, tile, overlap):
    grid = make_grid((size, size), tile=(tile, tile), overlap=(overlap, overlap), block=(1, 1))
    total = weight_sum(grid, blend, (0, 0), grid.shape)
    assert total.min() >= 1
    for classes, bits in ((2, 31), (5, 32)):
        q = choose_quantisation(grid, blend, classes=classes)
        assert q.probability_scale >= 1 << 12
        if "32" in q.dtype:
            assert int(total.max()) * q.probability_scale < 1 << bits


def test_many_overlaps_need_64_bits():
    grid = make_grid((64,) * 3, tile=(32,) * 3, overlap=(28,) * 3, block=(1,) * 3)
    assert choose_quantisation(grid, "constant", classes=4).dtype == "uint64"


def test_crop_gives_every_pixel_to_exactly_one_tile():
    grid = make_grid((41, 29), tile=(16, 16), overlap=(4, 8), block=(1, 1))
    assert (weight_sum(grid, "crop", (0, 0), grid.shape) == 1 << 12).all()


def test_gaussian_has_the_sigma_of_the_literature():
    axis = make_grid((64,), tile=(32,), overlap=(8,), block=(1,)).axes[0]
    w = profile(axis, 0, "gaussian")
    np.testing.assert_allclose(w[16 + 4] / w[16], np.exp(-0.5 * (4.5**2 - 0.5**2) / 4**2))
    np.testing.assert_array_equal(w, w[::-1])


def test_corners_keep_a_vote():
    grid = make_grid((96,) * 3, tile=(32,) * 3, overlap=(16,) * 3, block=(1,) * 3)
    assert tile_weights(grid, (0, 0, 0), "gaussian")[0, 0, 0] == 1


@given(st.integers(2, 5), st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_sums_do_not_depend_on_the_order_of_tiles(classes, random):
    grid = make_grid((21, 13), tile=(8, 8), overlap=(4, 4), block=(1, 1))
    q = choose_quantisation(grid, "gaussian", classes=classes)
    rng = np.random.default_rng(random.randrange(1 << 30))
    tiles = list(grid.tiles_touching((0, 0), grid.shape))
    logits = {t: rng.normal(size=(8, 8, classes)).astype(np.float32) * 4 for t in tiles}
    results = []
    for _ in range(2):
        random.shuffle(tiles)
        sums = np.zeros((q.planes, *grid.shape), q.dtype)
        for t in tiles:
            add_tile(sums, (0, 0), logits=logits[t], grid=grid, tile=t, blend="gaussian", quantisation=q)
        results.append(sums)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("classes", [2, 3])
def test_blend_equals_the_weighted_mean_of_softmax(classes):
    grid = make_grid((20, 11), tile=(8, 8), overlap=(4, 4), block=(1, 1))
    q = choose_quantisation(grid, "hann", classes=classes)
    rng = np.random.default_rng(1)
    sums = np.zeros((q.planes, *grid.shape), q.dtype)
    top, bottom = np.zeros((*grid.shape, classes)), np.zeros((*grid.shape, 1))
    for t in grid.tiles_touching((0, 0), grid.shape):
        logits = rng.normal(size=(8, 8, classes)).astype(np.float32)
        add_tile(sums, (0, 0), logits=logits, grid=grid, tile=t, blend="hann", quantisation=q)
        e = np.exp(logits.astype(np.float64))
        p = e / e.sum(-1, keepdims=True)
        w = tile_weights(grid, t, "hann").astype(float)[..., None]
        inside = [a.inside(k) for a, k in zip(grid.axes, t, strict=True)]
        box = tuple(slice(*i) for i in inside)
        part = tuple(slice(0, b - a) for a, b in inside)
        top[box] += (p * w)[part]
        bottom[box] += w[part]
    expected = top / bottom
    codes, confidence = finish(
        sums,
        np.zeros(grid.shape, np.uint8),
        (0, 0),
        grid=grid,
        blend="hann",
        quantisation=q,
        codes=Codes(tuple(range(classes)), wide=False),
    )
    ordered = np.sort(expected, -1)
    clear = ordered[..., -1] - ordered[..., -2] > 2e-4
    np.testing.assert_array_equal(codes[clear], expected.argmax(-1)[clear])
    np.testing.assert_allclose(confidence / 255, expected.max(-1), atol=0.5 / 255 + 1e-3)


@pytest.mark.parametrize("classes", [2, 4])
def test_ties_go_to_the_lowest_code(classes):
    grid = make_grid((5, 5), tile=(8, 8), overlap=(0, 0), block=(1, 1))
    q = choose_quantisation(grid, "gaussian", classes=classes)
    sums = np.zeros((q.planes, 5, 5), q.dtype)
    add_tile(
        sums,
        (0, 0),
        logits=np.zeros((8, 8, classes), np.float32),
        grid=grid,
        tile=(0, 0),
        blend="gaussian",
        quantisation=q,
    )
    codes, confidence = finish(
        sums,
        np.zeros((5, 5), np.uint8),
        (0, 0),
        grid=grid,
        blend="gaussian",
        quantisation=q,
        codes=Codes((7, 9, 11, 13)[:classes], wide=False),
    )
    assert (codes == 7).all()
    assert (confidence == round(255 / classes)).all()


def test_extreme_logits_neither_overflow_nor_lose_the_winner():
    grid = make_grid((4, 4), tile=(4, 4), overlap=(0, 0), block=(1, 1))
    q = Quantisation(1 << 16, 3, "uint32")
    sums = np.zeros((3, 4, 4), q.dtype)
    logits = np.full((4, 4, 3), -3e38, np.float32)
    logits[..., 2] = 3e38
    add_tile(sums, (0, 0), logits=logits, grid=grid, tile=(0, 0), blend="constant", quantisation=q)
    assert (sums[2] == (1 << 16) * (1 << 12)).all()
    assert (sums[:2] == 0).all()
