"""A region of interest: inside it the full run's pixels, outside the first class; only its tiles are run."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmodels.bundles.roi import RegionOfInterest
from tasks.blocks.segment import segment_block
from tasks.planning.make import make_plan
from tasks.planning.plan import Parameters
from tasks.planning.region import CoarseCost, Region
from tasks.stitching.stitch import Stitch
from tasks.tiling.area import Area, write_area
from tasks.tiling.roi import wanted_count

NODATA = 255


def region_of(bits, folder):
    """A region whose window is the smallest box around it."""
    at = np.argwhere(bits)
    if not len(at):
        area = Area((0,) * bits.ndim, (0,) * bits.ndim, "nothing")
    else:
        low, high = tuple(at.min(axis=0).tolist()), tuple((at.max(axis=0) + 1).tolist())
        area = write_area(low, high, lambda a, h: bits[tuple(map(slice, a, h))], lead=0, folder=folder)
    return Region(
        image_digest="", bundle_digest="", asked="", name="coarse", version="1", digest="", engine="method",
        precision="float32", library="", area=area, pixels=int(bits.sum()), found=0, tiles=1, folder=Path(),
        roi=RegionOfInterest(classes=("a",), margin=(0,), coarsen=(1,)),
        cost=CoarseCost(engine="method", memory=0, model=0, disk=0, bitmap=0),
    )  # fmt: skip


def run(image, card, engine, folder, *, region=None, block=12):
    plan = make_plan(
        image,
        item="x",
        image_digest="",
        bundle=folder,
        bundle_digest="",
        card=card,
        parameters=Parameters(),
        block=block,
    ).model_copy(update={"region": region})
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(plan.grid.block_count):
        segment_block(plan, number, image=image, engine=engine, directory=folder)
    stitch = Stitch(plan, folder, rows=5)
    codes = np.full(plan.grid.shape, 77, np.uint8)
    confidence = np.full(codes.shape, 77, np.uint8)
    for band in stitch.bands():
        codes[band.window], confidence[band.window] = band.codes, band.confidence
    return codes, confidence, plan, stitch


def network(x):
    """Depends on the whole tile, so that every pixel tells which tiles voted on it."""
    a = x[..., 0] + np.roll(x[..., 0], 3, axis=0) - x.mean()
    return np.stack([np.sin((5 + c) * a + c) for c in range(3)], -1)


@given(
    data=st.data(), blend=st.sampled_from(["gaussian", "constant", "crop"]), classes=st.sampled_from([2, 3])
)
@settings(max_examples=40, deadline=None)
def test_inside_the_full_runs_pixels_outside_the_first_class(
    data, blend, classes, array_image, function_engine, make_card, tmp_path_factory
):
    shape = data.draw(st.lists(st.integers(1, 29), min_size=2, max_size=4).map(tuple))
    if len(shape) == 4:
        shape = (min(shape[0], 3), *(min(n, 12) for n in shape[1:]))
    ndim = min(3, len(shape))
    wraps = ndim == 2 and shape[1] > 12 and data.draw(st.booleans())
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    valid = rng.random(shape) > data.draw(st.sampled_from([-1, 0.1]))
    valid.flat[0] = True
    bits = rng.random(shape) > data.draw(st.sampled_from([0.5, 0.99, 1.0]))
    image = array_image(rng.random((*shape, 1)).astype(np.float32), valid=valid, wraps=wraps)
    overlap = data.draw(st.sampled_from([0.0, 0.5]))
    fields = {"activation": "sigmoid"} if classes == 2 else {}
    card = make_card(classes, ndims=(ndim,), tile=(8,) * ndim, blend=blend, overlap=overlap, **fields)

    def model(x):
        return network(x)[..., : card.logits]

    folder = tmp_path_factory.mktemp("run")
    full, sure, _, _ = run(image, card, function_engine(model), folder / "full", block=20)
    engine = function_engine(model)
    region = region_of(bits, folder / "region")
    codes, confidence, _, stitch = run(image, card, engine, folder / "some", region=region)
    np.testing.assert_array_equal(codes, np.where(bits | (full == NODATA), full, 0))
    np.testing.assert_array_equal(confidence, np.where(bits | (full == NODATA), sure, 255))
    assert (codes[~valid] == NODATA).all()
    assert stitch.failures() == []
    other, _, _, _ = run(image, card, function_engine(model), folder / "other", region=region, block=30)
    np.testing.assert_array_equal(other, codes)


def test_only_tiles_that_touch_the_region_are_run_and_read(array_image, function_engine, make_card, tmp_path):
    values = np.random.default_rng(1).random((100, 100, 1)).astype(np.float32)
    bad = np.ones((100, 100), bool)
    bad[16:56, 32:64] = False
    bits = np.zeros((100, 100), bool)
    bits[30:40, 45:50] = True
    card = make_card(3, ndims=(2,), tile=(8, 8), overlap=0.0)
    engine, region = function_engine(network), region_of(bits, tmp_path / "region")
    plan = make_plan(
        array_image(values), item="x", image_digest="", bundle=tmp_path, bundle_digest="", card=card,
        parameters=Parameters(), block=24,
    ).model_copy(update={"region": region})  # fmt: skip
    # Every pixel is known to be valid, so that corrupt storage elsewhere is not even seen.
    for number in range(plan.grid.block_count):
        outcome = segment_block(
            plan, number, image=array_image(values, bad=bad), engine=engine, directory=tmp_path
        )
        assert outcome.failures == ()
    tiles = {(y // 8, x // 8) for y, x in np.argwhere(bits).tolist()}
    assert wanted_count(plan.grid, None, region.area) == len(tiles) == 4
    # A batch has a fixed size; blocks of 3 by 3 tiles that touch the region.
    blocks = {(y // 3, x // 3) for y, x in tiles}
    assert engine.tiles == plan.batch * len(blocks)


def test_the_region_names_the_blocks(array_image, make_card, tmp_path):
    image = array_image(np.random.default_rng(1).random((20, 20, 1)).astype(np.float32))
    bits = np.zeros((20, 20), bool)
    bits[3, 4] = True
    plan = make_plan(
        image, item="x", image_digest="", bundle=tmp_path, bundle_digest="", card=make_card(ndims=(2,)),
        parameters=Parameters(),
    )  # fmt: skip
    one = region_of(bits, tmp_path)
    bits[3, 5] = True
    two = region_of(bits, tmp_path)
    keys = {plan.model_copy(update={"region": r}).key() for r in (None, one, two)}
    assert len(keys) == 3
    elsewhere = one.model_copy(update={"area": replace(one.area, bitmap=tmp_path / "moved.npy")})
    assert plan.model_copy(update={"region": elsewhere}).key() in keys
    assert math.prod(plan.grid.shape) == 400


@pytest.mark.parametrize("coarsen", [None, (2, 2)])
def test_coarsening_is_a_parameter(coarsen):
    same = Parameters().digest() == Parameters(coarsen=coarsen).digest()
    assert same == (coarsen is None)
