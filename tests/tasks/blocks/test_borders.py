"""However blocks treat their borders, the finished pixels are the same, and failures are counted once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.tiling.grid import make_grid
from tests.tasks.whole_run import plan_for, segment_all, stitched


def planned(image, card, folder, *, block, borders=None, **parameters):
    plan = plan_for(image, card, folder, block=block, **parameters)
    if borders is None:
        return plan
    grid = plan.grid
    overlap = tuple(a.tile - a.step for a in grid.axes)
    again = make_grid(
        grid.shape, tile=grid.tile, overlap=overlap, block=grid.block, wraps=image.info.wraps, borders=borders
    )
    return plan.model_copy(update={"grid": again})


def finished(plan, image, engine, folder):
    segment_all(plan, image, engine, folder)
    codes, confidence, stitch = stitched(plan, folder)
    return codes, confidence, stitch.failures()


def wavy(x):
    """Depends on the whole tile, so that tiles disagree where they overlap."""
    total = x[..., :1].astype(np.float64)
    return np.concatenate([np.sin(9 * total), np.cos(7 * total + x.mean()), x.std() - total], -1)


@given(
    shape=st.lists(st.integers(1, 30), min_size=2, max_size=3).map(tuple),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.75]),
    block=st.integers(1, 40),
    blend=st.sampled_from(["gaussian", "hann", "constant"]),
    wraps=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=20, deadline=None)
def test_recomputed_borders_equal_stored_ones(
    shape, overlap, block, blend, wraps, seed, array_image, function_engine, make_card, tmp_path_factory
):
    rng = np.random.default_rng(seed)
    values, valid = rng.random((*shape, 1)).astype(np.float32), rng.random(shape) > 0.1
    if not valid.any():
        return
    image = array_image(values, valid=valid, wraps=wraps and len(shape) == 2)
    card = make_card(3, ndims=(len(shape),), tile=(8,) * len(shape), blend=blend, overlap=overlap)
    folder = tmp_path_factory.mktemp("borders")
    results = {}
    for borders in ("stored", "recomputed"):
        plan = planned(image, card, folder, block=block, borders=borders)
        engine = function_engine(wavy)
        results[borders] = finished(plan, image, engine, folder / borders)
        assert engine.tiles <= plan.grid.computed_count * plan.batch
    for stored, recomputed in zip(results["stored"], results["recomputed"], strict=True):
        np.testing.assert_array_equal(stored, recomputed)


@given(
    shape=st.lists(st.integers(1, 30), min_size=2, max_size=3).map(tuple),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.75]),
    block=st.integers(1, 40),
    wraps=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=20, deadline=None)
def test_cropped_pixels_come_from_the_tile_whose_centre_is_nearest(
    shape, overlap, block, wraps, seed, array_image, function_engine, make_card, tmp_path_factory
):
    """The reference runs every tile by itself and cuts its centre out."""
    values = np.random.default_rng(seed).random((*shape, 1)).astype(np.float32)
    image = array_image(values, wraps=wraps and len(shape) == 2)
    card = make_card(3, ndims=(len(shape),), tile=(8,) * len(shape), overlap=overlap)
    folder = tmp_path_factory.mktemp("crop")
    plan = planned(image, card, folder, block=block, blend="crop")
    assert plan.blend == "crop"
    assert plan.grid.borders == "none"
    codes, _, failures = finished(plan, image, function_engine(wavy), folder / "b")
    assert not failures
    expected = np.full(shape, 99)
    for tile in np.ndindex(*(a.count for a in plan.grid.axes)):
        at = [a.sources(k, plan.padding)[0] for a, k in zip(plan.grid.axes, tile, strict=True)]
        logits = wavy(values[np.ix_(*at)])
        ordered = np.sort(logits, -1)
        # Nearer than probabilities are quantised, either class is right.
        best = np.where(ordered[..., -1] - ordered[..., -2] > 1e-3, logits.argmax(-1), -1)
        cores = [a.core(k) for a, k in zip(plan.grid.axes, tile, strict=True)]
        into = tuple(slice(p, q) for p, q in cores)
        taken = tuple(
            slice(p - a.start(k), q - a.start(k))
            for (p, q), a, k in zip(cores, plan.grid.axes, tile, strict=True)
        )
        expected[into] = best[taken]
    clear = expected >= 0
    assert not (expected == 99).any()
    np.testing.assert_array_equal(codes[clear], expected[clear])


@pytest.mark.parametrize("blend", ["gaussian", "crop"])
def test_a_failed_tile_is_the_same_for_any_block_and_counted_once(
    blend, array_image, function_engine, make_card, tmp_path
):
    values = np.random.default_rng(0).random((40, 40, 1)).astype(np.float32)
    values[17, 21] = 9.0

    def fails(x):
        if x.max() > 8:
            raise ValueError("bad tile")
        return wavy(x)

    card = make_card(3, ndims=(2,), tile=(8, 8), overlap=0.5)
    found = []
    for i, (block, borders) in enumerate([(8, None), (16, None), (99, None), (16, "recomputed")]):
        if blend == "crop" and borders:
            continue
        plan = planned(array_image(values), card, tmp_path, block=block, borders=borders, blend=blend)
        codes, _, failures = finished(plan, array_image(values), function_engine(fails), tmp_path / str(i))
        assert len({f.tile for f in failures}) == len(failures) == 4
        found.append(codes)
    for codes in found[1:]:
        np.testing.assert_array_equal(codes, found[0])
    assert (found[0] == 254).sum() == (4 * 16 if blend == "crop" else 12 * 12)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("block", [8, 100])
def test_empty_tiles_count_as_the_first_class_and_are_not_run(
    classes, block, array_image, function_engine, make_card, tmp_path
):
    values = np.random.default_rng(0).random((32, 32, 1)).astype(np.float32)
    values[:, 16:] += 10
    card = make_card(
        classes, ndims=(2,), tile=(8, 8), overlap=0.0, empty={"below": 5.0}, activation="softmax"
    )

    def last(x):
        assert x.max() > 5
        return np.broadcast_to(np.arange(classes) * 4.0, (*x.shape[:-1], classes))

    engine = function_engine(last)
    image = array_image(values)
    plan = planned(image, card, tmp_path, block=block).model_copy(update={"batch": 1})
    codes, confidence, failures = finished(plan, image, engine, tmp_path / "b")
    assert not failures
    assert engine.tiles == 8
    assert (codes[:, :16] == 0).all()
    assert (confidence[:, :16] == 255).all()
    assert (codes[:, 16:] == classes - 1).all()
