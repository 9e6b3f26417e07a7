"""DESIGN's promises 1, 2, 3 and 5 on the real steps: plan, blocks, stitch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tests.tasks.whole_run import plan_for, segment_all, stitched


def predict(image, card, engine, folder, *, block=None, tile=None, overlap=None, order=list, rows=5):
    plan = plan_for(image, card, folder, block=block, tile=tile, overlap=overlap)
    segment_all(plan, image, engine, folder, order=order)
    codes, confidence, _ = stitched(plan, folder, rows=rows)
    return codes, confidence, plan


def one_hot(x):
    """An identity predictor: the value is the class."""
    return 8.0 * (x[..., :1].astype(int) == np.arange(3))


SHAPES = [(1, 1), (7, 5), (8, 8), (9, 30), (33, 41), (1, 100), (3, 9, 10), (17, 6, 5), (2, 5, 9, 12)]


@pytest.mark.parametrize("blend", ["gaussian", "hann", "constant", "crop"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_constant_and_identity_predictors_come_back_exact(
    shape, blend, array_image, function_engine, make_card, tmp_path
):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 3, (*shape, 1)).astype(np.uint8)
    ndim = min(3, len(shape))
    card = make_card(3, ndims=(ndim,), tile=(8,) * ndim, blend=blend)
    codes, confidence, _ = predict(
        array_image(values), card, function_engine(one_hot), tmp_path / "i", block=12
    )
    np.testing.assert_array_equal(codes, values[..., 0])
    assert confidence.min() == confidence.max() > 254
    constant = function_engine(lambda x: np.broadcast_to([0.3, 2.0, 1.9], (*x.shape[:-1], 3)))
    codes, confidence, _ = predict(array_image(values), card, constant, tmp_path / "c", block=12)
    assert (codes == 1).all()
    share = np.exp(2.0) / (np.exp(0.3) + np.exp(2.0) + np.exp(1.9))
    assert (confidence == round(255 * share)).all()


@pytest.mark.parametrize("padding", ["reflect", "edge", "zero"])
def test_a_2d_model_runs_slice_by_slice_over_a_volume(
    padding, array_image, function_engine, make_card, tmp_path
):
    values = np.random.default_rng(0).integers(0, 3, (4, 11, 13, 1)).astype(np.uint8)
    card = make_card(3, ndims=(2,), tile=(8, 8), padding=padding)
    codes, _, plan = predict(array_image(values), card, function_engine(one_hot), tmp_path)
    assert plan.grid.tile == (1, 8, 8)
    np.testing.assert_array_equal(codes, values[..., 0])


def smooth(x):
    """A small network of finite receptive field (radius 2), as convolutions with zero padding."""
    kernel = np.outer([1, 2, 3, 2, 1], [1, 3, 2, 1, 2]) / 50
    a = ndimage.convolve(x[..., 0].astype(np.float64), kernel, mode="constant")
    return np.stack([a, 1.0 - a, 0.4 * np.sin(7 * a)], -1) * 3


@pytest.mark.parametrize("size", [(40, 56), (37, 53), (16, 16)])
def test_tiled_equals_whole_where_the_halo_covers_the_receptive_field(
    size, array_image, function_engine, make_card, tmp_path
):
    values = np.random.default_rng(3).random((*size, 1)).astype(np.float32)
    card = make_card(3, ndims=(2,), tile=(16, 16), blend="crop", overlap=0.5)
    codes, _, plan = predict(array_image(values), card, function_engine(smooth), tmp_path)
    end = [a.start(a.count - 1) + a.tile for a in plan.grid.axes]
    padded = np.pad(values, [(0, e - s) for e, s in zip(end, size, strict=True)] + [(0, 0)], mode="reflect")
    logits = smooth(padded)[: size[0], : size[1]]
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    ordered = np.sort(p, -1)
    clear = ordered[..., -1] - ordered[..., -2] > 2e-4
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(codes[clear], p.argmax(-1)[clear])


@given(
    shape=st.lists(st.integers(1, 24), min_size=2, max_size=3).map(tuple),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.75]),
    blocks=st.lists(st.integers(1, 60), min_size=2, max_size=2),
    classes=st.sampled_from([2, 3]),
    seed=st.integers(0, 1000),
    hole=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_result_does_not_depend_on_blocks_or_order(
    shape, overlap, blocks, classes, seed, hole, array_image, function_engine, make_card, tmp_path_factory
):
    rng = np.random.default_rng(seed)
    values = rng.random((*shape, 1)).astype(np.float32)
    valid = rng.random(shape) > 0.2 if hole else None
    if valid is not None and not valid.any():
        valid.flat[0] = True
    ndim = len(shape)
    card = make_card(classes, ndims=(ndim,), tile=(8,) * ndim, overlap=overlap)

    def model(x):
        """Depends on the whole tile, so that neighbours disagree and only exact sums agree."""
        a = x[..., 0] + np.roll(x[..., 0], 3, axis=0) - x.mean()
        return np.stack([np.sin((5 + c) * a + c) for c in range(classes)], -1)

    results = []
    for block, order in zip([None, *blocks], [list, list, lambda n: list(reversed(n))], strict=True):
        folder = tmp_path_factory.mktemp("blocks")
        image = array_image(values, valid=valid)
        results.append(
            predict(image, card, function_engine(model), folder, block=block, order=order, rows=1 + seed % 7)
        )
    for codes, confidence, _ in results[1:]:
        np.testing.assert_array_equal(codes, results[0][0])
        np.testing.assert_array_equal(confidence, results[0][1])
    if valid is not None:
        np.testing.assert_array_equal(results[0][0] == 255, ~valid)


def test_each_tile_is_predicted_once_whatever_the_blocks(array_image, function_engine, make_card, tmp_path):
    values = np.random.default_rng(0).random((70, 90, 1)).astype(np.float32)
    card = make_card(3, ndims=(2,), tile=(16, 16), overlap=0.5)
    for block in (8, 30, 1000):
        engine = function_engine(one_hot)
        _, _, plan = predict(array_image(values), card, engine, tmp_path / str(block), block=block)
        partial = sum(
            -len(list(plan.grid.block_tiles(plan.grid.block_index(n)))) % plan.batch
            for n in range(plan.grid.block_count)
        )
        assert engine.tiles == plan.grid.tile_count + partial  # batches have one fixed shape


def test_a_failing_tile_fails_its_pixels_and_no_others_whatever_the_blocks(
    array_image, function_engine, make_card, tmp_path
):
    values = np.zeros((40, 40, 1), np.float32)
    values[20, 20] = 7

    def model(x):
        if x.max() == 7:
            raise ArithmeticError("seven")
        return np.broadcast_to([1.0, 0.0, 0.0], (*x.shape[:-1], 3))

    card = make_card(3, ndims=(2,), tile=(8, 8), overlap=0.5)
    masks = []
    for block in (4, 12, 100):
        codes, _, plan = predict(
            array_image(values), card, function_engine(model), tmp_path / str(block), block=block
        )
        masks.append(codes)
    expected = np.zeros((40, 40), bool)
    for tile in itertools.product(range(plan.grid.axes[0].count), repeat=2):
        box = tuple(slice(*a.inside(k)) for a, k in zip(plan.grid.axes, tile, strict=True))
        expected[box] |= values[(*box, 0)].max() == 7
    for mask in masks:
        np.testing.assert_array_equal(mask == 254, expected)
        assert set(np.unique(mask)) == {0, 254}


def test_corrupt_storage_fails_only_the_tiles_that_need_it(array_image, function_engine, make_card, tmp_path):
    values = np.random.default_rng(0).integers(0, 3, (40, 40, 1)).astype(np.uint8)
    bad = np.zeros((40, 40), bool)
    bad[4] = True
    card = make_card(3, ndims=(2,), tile=(8, 8), overlap=0.0)
    codes, _, _ = predict(array_image(values, bad=bad), card, function_engine(one_hot), tmp_path)
    assert (codes[:8] == 254).all()
    np.testing.assert_array_equal(codes[8:], values[8:, :, 0])


def test_logits_that_are_not_finite_fail_the_tile(array_image, function_engine, make_card, tmp_path):
    values = np.zeros((8, 24, 1), np.float32)
    values[:, 16:] = 1
    engine = function_engine(
        lambda x: np.stack([np.where(x[..., 0] == 1, np.nan, 1.0), x[..., 0], x[..., 0]], -1)
    )
    card = make_card(3, ndims=(2,), tile=(8, 8), overlap=0.0)
    codes, _, _ = predict(array_image(values), card, engine, tmp_path)
    assert (codes[:, :16] == 0).all()
    assert (codes[:, 16:] == 254).all()


def test_a_missing_block_is_failed_not_background(array_image, function_engine, make_card, tmp_path):
    values = np.ones((8, 32, 1), np.uint8)
    card = make_card(3, ndims=(2,), tile=(8, 8), overlap=0.5)
    codes, _, _ = predict(
        array_image(values), card, function_engine(one_hot), tmp_path, block=8, order=lambda n: n[:-1]
    )
    assert set(np.unique(codes)) == {1, 254}
    assert (codes[:, -4:] == 254).all()


def test_a_wrapping_image_takes_its_halo_from_the_opposite_edge(
    array_image, function_engine, make_card, tmp_path
):
    rng = np.random.default_rng(5)
    values = rng.random((16, 64, 1)).astype(np.float32)
    card = make_card(3, ndims=(2,), tile=(16, 16), overlap=0.5, blend="crop")
    straight, _, _ = predict(array_image(values, wraps=True), card, function_engine(smooth), tmp_path / "a")
    rolled, _, _ = predict(
        array_image(np.roll(values, 24, axis=1), wraps=True), card, function_engine(smooth), tmp_path / "b"
    )
    np.testing.assert_array_equal(np.roll(straight, 24, axis=1), rolled)
