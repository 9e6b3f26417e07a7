"""A preview's pixels are the full run's: for any window, bitmap, blend, size and number of axes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.blocks.blockfile import BlockFile, block_path
from tasks.blocks.segment import segment_block
from tasks.planning.plan import Parameters
from tasks.tiling.area import tile_box, tiles_by_block, whole_window, write_area
from tests.tasks.whole_run import plan_for, segment_all, stitched

NODATA = 255


def run(image, card, engine, folder, *, area=None, block=12, rows=5, fails=()):
    plan = plan_for(image, card, folder, block=block, area=area)
    segment_all(plan, image, engine, folder, without=fails)
    codes, confidence, stitch = stitched(plan, folder, rows=rows)
    return codes, confidence, plan, stitch


def network(x):
    """Depends on the whole tile, so that every pixel tells which tiles voted on it."""
    a = x[..., 0] + np.roll(x[..., 0], 3, axis=0) - x.mean()
    return np.stack([np.sin((5 + c) * a + c) for c in range(3)], -1)


def crop(array, area):
    return array[tuple(slice(a, h) for a, h in zip(area.low, area.high, strict=True))]


@given(data=st.data(), blend=st.sampled_from(["gaussian", "hann", "constant", "crop"]))
@settings(max_examples=60, deadline=None)
def test_any_window_equals_the_full_runs_crop(
    data, blend, array_image, function_engine, make_card, tmp_path_factory
):
    shape = data.draw(st.lists(st.integers(1, 29), min_size=2, max_size=4).map(tuple))
    if len(shape) == 4:
        shape = (min(shape[0], 3), *(min(n, 12) for n in shape[1:]))
    ndim = min(3, len(shape))
    wraps = ndim == 2 and shape[1] > 12 and data.draw(st.booleans())
    overlap = data.draw(st.sampled_from([0.0, 0.25, 0.5]))
    ends = [
        sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in shape
    ]
    low, high = tuple(e[0] for e in ends), tuple(e[1] for e in ends)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    valid = rng.random(shape) > 0.1
    valid.flat[0] = True
    image = array_image(rng.random((*shape, 1)).astype(np.float32), valid=valid, wraps=wraps)
    card = make_card(3, ndims=(ndim,), tile=(8,) * ndim, blend=blend, overlap=overlap)
    folder = tmp_path_factory.mktemp("run")
    codes, confidence, _, _ = run(image, card, function_engine(network), folder / "full", block=20)
    if data.draw(st.booleans()):
        lead = len(shape) - ndim if ndim == 3 else 0
        bits = rng.random(shape[lead:]) > data.draw(st.sampled_from([0.5, 0.99]))
        bits[tuple(a for a in low[lead:])] = True
        area = write_area(
            low,
            high,
            lambda a, h: bits[tuple(map(slice, a, h))],
            lead=lead,
            folder=folder / "area",
        )
        counts = crop(np.broadcast_to(bits, shape), area)
    else:
        area = whole_window(low, high)
        counts = np.ones(area.shape, bool)
    engine = function_engine(network)
    some, sure, plan, stitch = run(image, card, engine, folder / "some", area=area, block=12)
    np.testing.assert_array_equal(some[counts], crop(codes, area)[counts])
    np.testing.assert_array_equal(sure[counts], crop(confidence, area)[counts])
    assert (some[~counts] == NODATA).all()
    assert (sure[~counts] == 0).all()
    assert stitch.failures() == []
    wanted = np.zeros(shape, bool)
    crop(wanted, area)[...] = counts
    touching = [
        tile
        for number in range(plan.grid.block_count)
        for tile in plan.grid.block_tiles(plan.grid.block_index(number))
        if wanted[tuple(map(slice, *tile_box(plan.grid, tile)))].any()
    ]
    assert sum(tiles_by_block(plan.grid, area).values()) == len(touching)


def test_only_blocks_of_the_area_are_read(array_image, function_engine, make_card, tmp_path):
    values = np.random.default_rng(1).random((100, 100, 1)).astype(np.float32)
    bad = np.zeros((100, 100), bool)
    card = make_card(3, ndims=(2,), tile=(8, 8), overlap=0.25)
    full, *_ = run(array_image(values), card, function_engine(network), tmp_path / "full")
    image = array_image(values)
    area = whole_window((30, 40), (50, 47))
    bad[:12], bad[70:], bad[:, :20], bad[:, 70:] = True, True, True, True
    codes, _, plan, _ = run(image, card, function_engine(network), tmp_path / "some", area=area)
    np.testing.assert_array_equal(codes, full[30:50, 40:47])
    corrupt = array_image(values, bad=bad)
    folder = tmp_path / "again"
    folder.mkdir()
    for number in tiles_by_block(plan.grid, area):
        outcome = segment_block(
            plan, number, image=corrupt, engine=function_engine(network), directory=folder
        )
        assert outcome.failures == ()


def test_a_block_of_the_area_that_is_missing_counts_as_failed(
    array_image, function_engine, make_card, tmp_path
):
    image = array_image(np.random.default_rng(1).random((60, 60, 1)).astype(np.float32))
    card = make_card(3, ndims=(2,), tile=(8, 8), overlap=0.0)
    area = whole_window((0, 0), (30, 30))
    _, _, plan, stitch = run(image, card, function_engine(network), tmp_path, area=area, block=16, fails=(0,))
    codes = np.concatenate([b.codes for b in stitch.bands()])
    assert (codes[:16, :16] == 254).all()
    assert (codes == 254).sum() == 16 * 16
    assert len(stitch.failures()) == tiles_by_block(plan.grid, area)[0]


def test_the_plan_of_a_whole_image_keeps_its_key_and_an_area_gives_another(
    array_image, make_card, function_engine, tmp_path
):
    image = array_image(np.zeros((40, 40, 1), np.uint8))
    card = make_card(3, ndims=(2,), tile=(8, 8))
    keys = {
        run(image, card, function_engine(network), tmp_path / str(i), area=area)[2].key()
        for i, area in enumerate([None, whole_window((0, 0), (9, 9)), whole_window((0, 0), (9, 10))])
    }
    assert len(keys) == 3
    assert (
        Parameters().digest() != Parameters(window="0:9,0:9").digest() != Parameters(aoi="sha256:0").digest()
    )


def test_a_previews_disk_and_lines_are_budgeted_for_its_window(
    array_image, make_card, function_engine, tmp_path
):
    image = array_image(np.zeros((400, 400, 1), np.uint8))
    card = make_card(3, ndims=(2,), tile=(8, 8))
    plans = [
        run(image, card, function_engine(network), tmp_path / str(i), area=area, block=400)[2]
        for i, area in enumerate([None, whole_window((0, 0), (40, 40))])
    ]
    # Codes and confidence of one block, no border in it, and the mask twice, each with overviews.
    assert plans[1].disk_bytes == 40 * 40 * (1 + 1 + 3)
    assert plans[1].grid == plans[0].grid
    assert plans[1].batch == plans[0].batch


@pytest.mark.parametrize("blend", ["gaussian", "crop"])
@pytest.mark.parametrize("window", [((30, 40), (50, 47)), ((0, 0), (100, 100)), ((21, 21), (27, 27))])
def test_blocks_leave_no_more_than_the_plan_says(
    array_image, function_engine, make_card, tmp_path, window, blend
):
    """Counted by hand, array by array; the mask itself is thrice in the bound of the disk."""
    image = array_image(np.random.default_rng(1).random((100, 100, 1)).astype(np.float32))
    card = make_card(3, ndims=(2,), tile=(8, 8), overlap=0.25, blend=blend)
    area = whole_window(*window)
    _, _, plan, _ = run(image, card, function_engine(network), tmp_path, area=area, block=24)
    files = [BlockFile(block_path(tmp_path, n)) for n in tiles_by_block(plan.grid, area)]
    left = sum(
        np.dtype(a.dtype).itemsize * math.prod(a.shape)
        for file in files
        for slab in file.slabs
        for a in slab.arrays.values()
    )
    assert math.prod(area.shape) * 2 <= left <= plan.disk_bytes - 3 * plan.result_bytes
