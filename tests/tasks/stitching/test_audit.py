"""The seam audit against a plain loop over tiles, and its independence of how the work was cut."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmodels.bundles.card import SeamLimits
from tasks.blocks.reading import fill_input, read_source
from tasks.blocks.segment import segment_block
from tasks.publishing.record import status_of
from tasks.stitching.audit import Disagreement, SeamAudit, join_seams, seam_suspicions
from tasks.tiling.seams import sample_steps
from tests.tasks.whole_run import plan_for, segment_all

LIMITS = SeamLimits()


def audit(image, card, engine, folder, *, order=list, **options):
    plan = plan_for(image, card, folder, **options)
    segment_all(plan, image, engine, folder, order=order)
    return join_seams(plan, folder, axes=image.info.axes), plan


def per_pixel(x):
    """Sees no surroundings."""
    a = x[..., 0]
    return np.stack([np.sin(9 * a), np.cos(7 * a), a], -1) * 3


def positional(x):
    """Says what the column within the tile is, whatever the image shows."""
    column = np.arange(x.shape[-2]) * 3 // x.shape[-2]
    return np.broadcast_to(6.0 * (column[:, None] == np.arange(3)), (*x.shape[:-1], 3))


def whole_tile(classes):
    """Depends on the whole tile, so that neighbours disagree."""

    def model(x):
        a = x[..., 0] + np.roll(x[..., 0], 3, axis=0) - x.mean()
        return np.stack([np.sin((5 + c) * a + c) for c in range(classes)], -1)

    return model


def loop(plan, image, model):
    """The audit written as a loop over sampled pixels, in floating point.

    Returns pairs, pixels, pixels of another class and the mean difference, per axis.
    """
    probabilities = {}
    for tile in itertools.product(*(range(a.count) for a in plan.grid.axes)):
        source = read_source(image, plan.grid, [tile], padding=plan.padding)
        x = np.empty((*plan.tile, len(plan.card.channels)), np.float32)
        valid = fill_input(source, plan.grid, tile, padding=plan.padding, normaliser=plan.normaliser, out=x)
        e = np.exp(model(x).astype(np.float64)).reshape(*plan.grid.tile, -1)
        probabilities[tile] = (e / e.sum(-1, keepdims=True), valid.reshape(plan.grid.tile))
    out = {}
    for d in range(len(plan.grid.axes)):
        pairs, other, differences = 0, 0, []
        for tile in probabilities:
            following = tuple(k + (i == d) for i, k in enumerate(tile))
            if following not in probabilities:
                continue
            boxes = [
                [range(*a.inside(k)) for a, k in zip(plan.grid.axes, t, strict=True)]
                for t in (tile, following)
            ]
            shared = [
                [v for v in p if v in q and v % s == 0]
                for p, q, s in zip(*boxes, sample_steps(plan.grid), strict=True)
            ]
            before = len(differences)
            for pixel in itertools.product(*shared):
                found = []
                for t in (tile, following):
                    at = tuple(v - a.start(k) for v, a, k in zip(pixel, plan.grid.axes, t, strict=True))
                    if probabilities[t][1][at]:
                        found.append(probabilities[t][0][at])
                if len(found) == 2:
                    other += found[0].argmax() != found[1].argmax()
                    differences.append(0.5 * np.abs(found[0] - found[1]).sum())
            pairs += len(differences) > before
        out[image.info.axes[d]] = (pairs, len(differences), other, np.mean(differences) if differences else 0)
    return out


@pytest.mark.parametrize(
    ("shape", "tile", "classes", "overlap"),
    [((60, 75), 16, 3, 0.25), ((60, 75), 16, 2, 0.5), ((41, 90), 32, 3, 7), ((19, 21, 30), 8, 3, 0.5)],
)
def test_counts_are_those_of_a_plain_loop(
    shape, tile, classes, overlap, array_image, function_engine, make_card, tmp_path
):
    rng = np.random.default_rng(0)
    image = array_image(rng.random((*shape, 1)).astype(np.float32), valid=rng.random(shape) > 0.1)
    card = make_card(classes, ndims=(len(shape),), tile=(tile,) * len(shape), overlap=0.25)
    engine = function_engine(whole_tile(classes))
    found, plan = audit(image, card, engine, tmp_path, overlap=overlap, block=12)
    assert plan.grid.block_count > 1
    expected = loop(plan, image, whole_tile(classes))
    assert [a.axis for a in found.axes] == list(expected)
    for axis in found.axes:
        pairs, pixels, other, difference = expected[axis.axis]
        assert (axis.found.pairs, axis.found.pixels) == (pairs, pixels)
        # Two classes closer than 1/65534 are one to the audit: then the lower code counts.
        assert axis.found.other_class == pytest.approx(other, abs=3)
        assert other > 0
        assert axis.found.mean_difference == pytest.approx(difference, abs=2 / 65534)
    assert found.found.pixels == sum(e[1] for e in expected.values())


def test_every_overlap_of_two_whole_tiles_is_sampled(array_image, make_card, tmp_path):
    for tile, overlap in itertools.product([8, 16, 32, 64], [1, 2, 3, 5, 7]):
        image = array_image(np.ones((150, 150, 1), np.float32))
        card = make_card(3, ndims=(2,), tile=(tile, tile))
        grid = plan_for(image, card, tmp_path, overlap=overlap).grid
        for axis, step in zip(grid.axes, sample_steps(grid), strict=True):
            for k in range(axis.count - 1):
                low, high = axis.inside(k + 1)[0], axis.inside(k)[1]
                assert high - low < overlap or -(-low // step) * step < high


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 20)) | st.tuples(*[st.integers(1, 13)] * 3),
    overlap=st.sampled_from([0.0, 0.125, 0.25, 0.5]),
    blocks=st.lists(st.integers(1, 30), min_size=2, max_size=2),
    classes=st.sampled_from([2, 3]),
    seed=st.integers(0, 1000),
    hole=st.booleans(),
    wraps=st.booleans(),
)
@settings(max_examples=20, deadline=None)
def test_the_audit_does_not_depend_on_blocks_or_order(
    shape,
    overlap,
    blocks,
    classes,
    seed,
    hole,
    wraps,
    array_image,
    function_engine,
    make_card,
    tmp_path_factory,
):
    rng = np.random.default_rng(seed)
    values = rng.random((*shape, 1)).astype(np.float32)
    valid = rng.random(shape) > 0.2 if hole else np.ones(shape, bool)
    valid.flat[0] = True
    card = make_card(classes, ndims=(len(shape),), tile=(8,) * len(shape), overlap=overlap)
    audits = []
    for block, order in zip([None, *blocks], [list, list, lambda n: list(reversed(n))], strict=True):
        image = array_image(values, valid=valid, wraps=wraps and len(shape) == 2)
        engine = function_engine(whole_tile(classes))
        folder = tmp_path_factory.mktemp("blocks")
        audits.append(audit(image, card, engine, folder, block=block, order=order)[0])
    assert audits[1] == audits[0]
    assert audits[2] == audits[0]


@pytest.mark.parametrize("shape", [(60, 70), (15, 22, 20)], ids=str)
def test_recomputed_borders_are_audited_like_stored_ones(
    shape, array_image, function_engine, make_card, tmp_path
):
    """Half of the image is nodata, in patches, so that blocks own tiles of which they show nothing."""
    rng = np.random.default_rng(3)
    patches = np.kron(rng.random([-(-n // 5) for n in shape]) > 0.5, np.ones((5,) * len(shape), bool))
    valid = patches[tuple(map(slice, shape))].astype(bool)
    image = array_image(rng.random((*shape, 1)).astype(np.float32), valid=valid)
    card = make_card(3, ndims=(len(shape),), tile=(8,) * len(shape))
    plan = plan_for(image, card, tmp_path, overlap=0.5, block=4)
    assert plan.grid.borders == "stored"
    audits = []
    for borders in ("stored", "recomputed"):
        folder = tmp_path / borders
        folder.mkdir()
        asked = plan.model_copy(update={"grid": replace(plan.grid, borders=borders)})
        for number in range(asked.grid.block_count):
            engine = function_engine(whole_tile(3))
            segment_block(asked, number, image=image, engine=engine, directory=folder)
        audits.append(join_seams(asked, folder, axes=image.info.axes))
    assert audits[0].found.pixels > 100
    assert audits[1] == audits[0]


@pytest.mark.parametrize("shape", [(90, 70), (20, 30, 25), (2, 20, 22, 24)], ids=str)
def test_a_model_without_context_disagrees_nowhere(shape, array_image, function_engine, make_card, tmp_path):
    values = np.random.default_rng(1).random((*shape, 1)).astype(np.float32)
    ndim = min(3, len(shape))
    card = make_card(3, ndims=(ndim,), tile=(16,) * ndim, overlap=0.5)
    found, _ = audit(array_image(values), card, function_engine(per_pixel), tmp_path, block=30)
    assert found.found.pixels > 1000
    assert found.found.other_class == 0
    assert found.found.mean_difference == 0
    assert seam_suspicions(found, LIMITS) == ()


def test_a_model_that_looks_at_its_position_is_suspect(array_image, function_engine, make_card, tmp_path):
    values = np.random.default_rng(1).random((200, 200, 1)).astype(np.float32)
    card = make_card(3, ndims=(2,), tile=(32, 32), overlap=0.25)
    found, plan = audit(array_image(values), card, function_engine(positional), tmp_path, block=60)
    down, across = found.axes
    assert down.found.other_class == 0
    assert across.found.other_share == 1
    (first, second), worst = across.worst.tiles, across.worst
    assert [b - a for a, b in zip(first, second, strict=True)] == [0, 1]
    assert [h - a for a, h in zip(worst.low, worst.high, strict=True)] == [32, 8]
    assert worst.low[1] == plan.grid.axes[1].start(second[1])
    (sentence,) = seam_suspicions(found, LIMITS)
    assert f"{100 * found.found.other_share:.1f} % of the pixels" in sentence
    assert "--overlap" in sentence
    assert "--tile" in sentence
    assert status_of((), (sentence,)) == "suspect"


def test_limits_are_those_of_the_card():
    found = Disagreement(pairs=9, pixels=1000, other_class=20, mean_difference=0.02)
    either = SeamAudit(found, ())
    assert seam_suspicions(either, LIMITS) == ()
    (sentence,) = seam_suspicions(either, SeamLimits(other_class=0.01))
    assert "2.0 % of the pixels" in sentence
    assert "limit 1 %" in sentence
    (sentence,) = seam_suspicions(either, SeamLimits(difference=0.01))
    assert "differ by 0.02 on average (limit 0.01)" in sentence
    few = SeamAudit(Disagreement(pairs=1, pixels=20, other_class=20, mean_difference=1.0), ())
    assert seam_suspicions(few, LIMITS) == ()


@pytest.mark.parametrize(("shape", "overlap"), [((8, 8), 0.5), ((30, 30), 0.0)])
def test_without_overlap_there_is_nothing_to_compare(
    shape, overlap, array_image, function_engine, make_card, tmp_path
):
    card = make_card(3, ndims=(2,), tile=(8, 8), overlap=overlap)
    image = array_image(np.zeros((*shape, 1), np.float32))
    found, _ = audit(image, card, function_engine(positional), tmp_path)
    assert found.axes == ()
    assert found.as_json(LIMITS)["pixels"] == 0
    assert found.as_json(LIMITS)["other_class"] is None
    assert seam_suspicions(found, LIMITS) == ()


def test_failed_and_empty_tiles_have_no_pairs(array_image, function_engine, make_card, tmp_path):
    """One row of 7 tiles: the second fails, the last has no data; blocks of one tile and of all."""
    values = np.full((8, 32, 1), 0.5, np.float32)
    values[0, 9] = 7
    valid = np.ones((8, 32), bool)
    valid[:, 24:] = False

    def model(x):
        if x[0, 5, 0] == 7:
            raise ArithmeticError("seven")
        return positional(x)

    card = make_card(3, ndims=(2,), tile=(8, 8), overlap=0.5)
    audits = []
    for block in (4, 100):
        image = array_image(values, valid=valid)
        found, plan = audit(image, card, function_engine(model), tmp_path / str(block), block=block)
        assert plan.grid.tile_count == 7
        audits.append(found)
    assert audits[0] == audits[1]
    # Left are the pairs 2-3, 3-4 and 4-5; tile 5 has data in its first half, which is what 4 shares.
    assert audits[0].found.pairs == 3
    assert audits[0].found.pixels == 3 * 8 * 4


def test_a_missing_block_has_no_pairs(array_image, function_engine, make_card, tmp_path):
    card = make_card(3, ndims=(2,), tile=(8, 8), overlap=0.5)
    image = array_image(np.ones((8, 32, 1), np.float32))
    engine = function_engine(positional)
    found, _ = audit(image, card, engine, tmp_path, block=4, order=lambda n: n[:3] + n[4:])
    assert found.found.pairs == 4
