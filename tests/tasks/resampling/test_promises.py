"""A run on a lattice of another spacing: constants stay, ramps stay, blocks do not matter, holes stay holes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tasks.tiling.area import tiles_by_block, whole_window, write_area
from tests.tasks.resampling.on_lattice import by_scipy, native, plan_on, run_on, spaced
from tests.tasks.whole_run import segment_all

NODATA, FAILED = 255, 254
#: Image, spacing of its pixels, spacing of the model's.
CASES = {
    "finer, odd": ((13, 17, 11), (3.0, 2.0, 2.5), (1.3, 1.1, 2.0)),
    "coarser": ((21, 23, 19), (0.7, 0.7, 1.0), (1.9, 2.3, 3.1)),
    "both ways": ((9, 30, 12), (5.0, 0.8, 1.5), (2.0, 2.0, 1.5)),
    "one pixel thick": ((1, 25, 1), (4.0, 1.0, 1.0), (1.5, 1.5, 1.5)),
    "raster": ((37, 29), (10.0, 10.0), (6.0, 6.0)),
    "coarser raster": ((40, 33), (0.6, 0.6), (1.0, 1.0)),
}
CASE = pytest.mark.parametrize("case", CASES)


def pointwise(x):
    """Logits of three classes, linear in a pixel's own value."""
    return np.stack([0 * x[..., 0], 4 * x[..., 0] - 1, 9 * x[..., 0] - 4.5], -1)


def network(x):
    """Depends on the whole tile, so that every pixel tells which tiles voted on it."""
    a = x[..., 0] + np.roll(x[..., 0], 3, axis=0) - x.mean()
    return np.stack([np.sin((5 + c) * a + c) for c in range(3)], -1)


def card_of(make_card, ndim, spacing, *, classes=3, tile=8, **fields):
    return make_card(classes, ndims=(ndim,), tile=(tile,) * ndim, spacing=spacing, overlap=0.5, **fields)


def image_of(case, *, seed=0, holes=False):
    shape, have, _ = CASES[case]
    rng = np.random.default_rng(seed)
    values = rng.random((*shape, 1)).astype(np.float32)
    valid = rng.random(shape) > 0.2 if holes else None
    return spaced(values, have, valid=valid)


@CASE
@pytest.mark.parametrize("classes", [2, 4])
def test_a_constant_comes_back(case, classes, make_card, function_engine, tmp_path) -> None:
    image = image_of(case)
    logits = np.linspace(0.5, 1.5, classes)[::-1].copy()
    logits[1] = 2.0
    card = card_of(make_card, len(image.info.shape), CASES[case][2], classes=classes)
    codes, confidence, plan = run_on(
        image, card, function_engine(lambda x: np.broadcast_to(logits, (*x.shape[:-1], classes))), tmp_path
    )
    assert plan.grid.shape != image.info.shape
    assert (codes == 1).all()
    share = np.exp(2.0) / np.exp(logits).sum()
    assert np.abs(confidence / 255 - share).max() < 1 / 255


@CASE
def test_probabilities_come_back_before_a_class_is_chosen(case, make_card, function_engine, tmp_path) -> None:
    image = image_of(case)
    shape, have, want = CASES[case]
    # A slice of a volume of one pixel has the same values at any spacing.
    card = card_of(make_card, len(shape), want, blend="gaussian")
    codes, confidence, plan = run_on(image, card, function_engine(pointwise), tmp_path)
    steps = [w / h for w, h in zip(want, have, strict=True)]
    assert plan.grid.shape == tuple(
        max(1, int(np.ceil(n / s - 0.5 - 1e-6))) for n, s in zip(shape, steps, strict=True)
    )
    values = by_scipy(image.values[..., 0], plan.grid.shape, steps)
    shares = np.exp(pointwise(values[..., None]))
    shares /= shares.sum(-1, keepdims=True)
    back = np.stack([by_scipy(shares[..., c], shape, [1 / s for s in steps]) for c in range(3)], -1)
    ordered = np.sort(back, -1)
    sure = ordered[..., -1] - ordered[..., -2] > 2e-3
    assert sure.mean() > 0.9
    assert len(np.unique(codes)) > 1
    np.testing.assert_array_equal(codes[sure], back.argmax(-1)[sure])
    assert np.abs(confidence / 255 - ordered[..., -1]).max() < 5e-3


def test_a_ramp_is_cut_where_it_was(make_card, function_engine, tmp_path) -> None:
    z, y, x = np.meshgrid(*(np.arange(n) + 0.5 for n in (14, 18, 22)), indexing="ij")
    ramp = 3.0 * z + 1.5 * y - 0.8 * x
    image = spaced(ramp[..., None].astype(np.float32), (3.0, 1.5, 0.8))
    card = card_of(make_card, 3, (2.0, 2.0, 2.0), classes=2)
    cut = 25.0
    codes, _, _ = run_on(
        image, card, function_engine(lambda v: np.concatenate([0 * v, (v - cut) * 1e-2], -1)), tmp_path
    )
    inner = (slice(1, -1), slice(2, -2), slice(3, -3))
    near = np.abs(ramp - cut) < 0.02
    np.testing.assert_array_equal(codes[inner][~near[inner]], (ramp > cut)[inner][~near[inner]])


@pytest.mark.parametrize("case", ["finer, odd", "both ways", "coarser raster"])
@pytest.mark.parametrize("blend", ["gaussian", "crop"])
def test_neither_blocks_nor_bands_matter(case, blend, make_card, function_engine, tmp_path) -> None:
    image = image_of(case, holes=True)
    card = card_of(make_card, len(image.info.shape), CASES[case][2], blend=blend)
    whole, sure, plan = run_on(image, card, function_engine(network), tmp_path / "one", block=1000, rows=512)
    assert plan.grid.block_count == 1
    assert len(np.unique(whole)) > 3
    for block, rows in ((4, 1), (8, 3), (13, 7)):
        codes, confidence, other = run_on(
            image, card, function_engine(network), tmp_path / f"{block}", block=block, rows=rows
        )
        assert other.grid.block_count > 1
        np.testing.assert_array_equal(codes, whole)
        np.testing.assert_array_equal(confidence, sure)
    if blend != "crop":
        again = replace(plan_on(image, card, tmp_path, block=8).grid, borders="recomputed")
        plan = plan_on(image, card, tmp_path, block=8).model_copy(update={"grid": again})
        from tasks.resampling.image import resampled

        segment_all(plan, resampled(image, plan.resampling), function_engine(network), tmp_path / "again")
        np.testing.assert_array_equal(native(plan, image, tmp_path / "again")[0], whole)


@CASE
def test_holes_stay_and_all_else_has_a_class(case, make_card, function_engine, tmp_path) -> None:
    image = image_of(case)
    shape, _, want = CASES[case]
    image.valid = np.ones(shape, bool)
    image.valid[tuple(slice(0, max(1, n // 2)) if n > 1 else slice(None) for n in shape)] = False
    image.values[~image.valid] = np.nan
    card = card_of(make_card, len(shape), want)
    codes, confidence, plan = run_on(image, card, function_engine(pointwise), tmp_path, block=8)
    assert plan.resampling is not None
    np.testing.assert_array_equal(codes == NODATA, ~image.valid)
    assert (confidence[~image.valid] == 0).all()
    # what is far from the hole is as without it
    clean, _, _ = run_on(image_of(case), card, function_engine(pointwise), tmp_path / "clean", block=8)
    far = tuple(slice(n // 2 + 4, None) if n > 9 else slice(None) for n in shape)
    np.testing.assert_array_equal(codes[far], clean[far])


def test_a_lost_block_is_failed_where_it_counts(make_card, function_engine, tmp_path) -> None:
    image = image_of("raster", holes=True)
    card = card_of(make_card, 2, CASES["raster"][2])
    whole, _, plan = run_on(image, card, function_engine(pointwise), tmp_path, block=12)
    assert plan.grid.block_count > 4
    some, _, _ = run_on(image, card, function_engine(pointwise), tmp_path / "some", block=12, without=[0])
    lost = some == FAILED
    np.testing.assert_array_equal(some[~lost], whole[~lost])
    np.testing.assert_array_equal(some == NODATA, ~image.valid)
    # exactly those of whose neighbours on the lattice the block touches any
    low, high = plan.grid.block_span(plan.grid.block_index(0))
    touched = np.zeros(plan.grid.shape)
    touched[tuple(map(slice, low, high))] = 1
    needs = by_scipy(touched, image.info.shape, plan.resampling.back) > 1 / 4096
    np.testing.assert_array_equal(lost, needs & image.valid)


@pytest.mark.parametrize("case", ["finer, odd", "both ways", "raster", "coarser raster"])
def test_a_preview_is_a_part_of_the_whole(case, make_card, function_engine, tmp_path) -> None:
    image = image_of(case, holes=True)
    shape = image.info.shape
    card = card_of(make_card, len(shape), CASES[case][2])
    whole, sure, plan = run_on(image, card, function_engine(network), tmp_path, block=8)
    low, high = tuple(n // 3 for n in shape), tuple(n // 3 + max(1, n // 4) for n in shape)
    part = tuple(map(slice, low, high))
    window = whole_window(low, high)
    codes, confidence, other = run_on(
        image, card, function_engine(network), tmp_path / "window", block=12, area=window
    )
    np.testing.assert_array_equal(codes, whole[part])
    np.testing.assert_array_equal(confidence, sure[part])
    assert sum(tiles_by_block(other.grid, other.tiled_area).values()) < plan.grid.tile_count
    bits = np.random.default_rng(1).random(shape) > 0.9
    bits[low] = True
    area = write_area(low, high, lambda a, h: bits[tuple(map(slice, a, h))], lead=0, folder=tmp_path / "bits")
    codes, _, _ = run_on(image, card, function_engine(network), tmp_path / "aoi", block=12, area=area)
    np.testing.assert_array_equal(codes, np.where(bits[part], whole[part], NODATA))


def test_frames_are_each_a_volume(make_card, function_engine, tmp_path) -> None:
    shape, have, want = CASES["both ways"]
    rng = np.random.default_rng(3)
    values = rng.random((3, *shape, 1)).astype(np.float32)
    series = spaced(values, have)
    card = card_of(make_card, 3, want)
    codes, _, plan = run_on(series, card, function_engine(pointwise), tmp_path / "series", block=12)
    assert plan.grid.shape[0] == 3
    for t in range(3):
        alone, _, _ = run_on(spaced(values[t], have), card, function_engine(pointwise), tmp_path / str(t))
        np.testing.assert_array_equal(codes[t], alone)


def test_slices_keep_their_own_distance_under_a_flat_model(make_card, function_engine, tmp_path) -> None:
    shape, have, _ = CASES["both ways"]
    values = np.random.default_rng(4).random((*shape, 1)).astype(np.float32)
    card = card_of(make_card, 2, (1.1, 1.1))
    codes, _, plan = run_on(spaced(values, have), card, function_engine(pointwise), tmp_path)
    assert plan.grid.shape[0] == shape[0]
    assert plan.resampling.steps[0] == 1
    middle = spaced(values[4:5], have)
    alone, _, _ = run_on(middle, card, function_engine(pointwise), tmp_path / "alone")
    np.testing.assert_array_equal(codes[4:5], alone)


def test_what_a_validity_mask_hides_is_unobserved(make_card, function_engine, tmp_path) -> None:
    image = image_of("raster", holes=True)
    cloud = np.zeros(image.info.shape, bool)
    cloud[9:20, 5:17] = True
    plain = image.read

    def hidden(window):
        pixels = plain(window)
        valid = pixels.valid & ~cloud[window]
        return replace(pixels, valid=valid, unobserved=cloud[window])

    image.read = hidden
    card = card_of(make_card, 2, CASES["raster"][2])
    codes, confidence, _ = run_on(image, card, function_engine(pointwise), tmp_path, block=8)
    np.testing.assert_array_equal(codes == 253, cloud)
    np.testing.assert_array_equal(codes == NODATA, ~image.valid & ~cloud)
    assert (confidence[cloud] == 0).all()
