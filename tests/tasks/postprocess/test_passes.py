"""Post-processing against scipy.ndimage on the whole array, for any cut of the file into pieces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage

from segmodels.bundles.card import Card, ChannelCard, ClassCard
from segmodels.bundles.postprocess import FillHoles, LargestComponents, MinimumSize
from tasks.errors import InputError
from tasks.postprocess import flat as flat_module
from tasks.postprocess.decide import check_units
from tasks.postprocess.flat import FlatMask
from tasks.postprocess.passes import Change, Changes, process

NODATA, FAILED, UNOBSERVED = 255, 254, 253


@dataclass(frozen=True)
class Rows:
    """Pixel sizes that differ from row to row."""

    rows: np.ndarray
    col_step: float = 1.0

    def lines(self, start, stop):
        return self.rows[start:stop, None].astype(float)

    def total(self, shape):
        return float(self.rows.sum() * shape[1])


def card_with(*steps, connectivity="full"):
    return Card(
        name="test",
        ndims=(2, 3),
        classes=tuple(
            ClassCard(name=n, code=c, colour="#000000") for n, c in (("ground", 0), ("a", 1), ("b", 2))
        ),
        channels=(ChannelCard(name="x"),),
        tile=(8, 8, 8),
        connectivity=connectivity,
        postprocess=steps,
    )


def processed(mask, card, folder: Path, *, wraps=False, sizes=None, piece=flat_module.PIECE):
    flat = FlatMask(folder / "mask.raw", mask.shape, np.dtype(np.uint8))
    flat.path.unlink(missing_ok=True)
    before, flat_module.PIECE = flat_module.PIECE, piece
    try:
        flat.write(0, mask.reshape(-1, *flat.slice_shape))
        sizes = sizes or Rows(np.ones(max(mask.shape)))
        changes = process(flat, card, wraps=wraps, sizes=sizes)
        return flat.read(0, mask.size // np.prod(flat.slice_shape)).reshape(mask.shape), changes
    finally:
        flat_module.PIECE = before


def structure(ndim, full):
    return ndimage.generate_binary_structure(ndim, ndim if full else 1)


def expected_removal(mask, code, *, full, minimum=0, keep=None):
    """scipy labels in raster order, so that a stable sort by size keeps the first of equals."""
    labels, count = ndimage.label(mask == code, structure(mask.ndim, full))
    pixels = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    ids = [i + 1 for i in np.argsort(-pixels, kind="stable") if pixels[i] >= minimum][:keep]
    out = mask.copy()
    out[(mask == code) & ~np.isin(labels, ids)] = 0
    return out


def expected_fill(mask, code, *, full, most=None):
    labels, count = ndimage.label(mask != code, structure(mask.ndim, not full))
    out = mask.copy()
    inside = ndimage.binary_fill_holes(mask == code, structure(mask.ndim, not full)) & (mask != code)
    for i in range(1, count + 1):
        hole = labels == i
        known = not (mask[hole] >= UNOBSERVED).any()
        if inside[hole].all() and known and (most is None or hole.sum() <= most):
            out[hole & (mask == 0)] = code
    return out


@st.composite
def masks(draw):
    ndim = draw(st.integers(2, 3))
    shape = tuple(draw(st.integers(2 if ndim == 3 else 1, 9)) for _ in range(ndim))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    share = draw(st.sampled_from((0.3, 0.5, 0.7)))
    mask = np.where(rng.random(shape) < share, 1, np.where(rng.random(shape) < 0.2, 2, 0)).astype(np.uint8)
    mask[rng.random(shape) < draw(st.sampled_from((0.0, 0.03)))] = draw(
        st.sampled_from((NODATA, FAILED, UNOBSERVED))
    )
    return mask


@settings(max_examples=120, deadline=None)
@given(
    mask=masks(),
    full=st.booleans(),
    minimum=st.integers(1, 6),
    keep=st.sampled_from((None, 1, 2)),
    piece=st.sampled_from((1, 7, 50, 1000)),
)
def test_removal_equals_scipy(tmp_path_factory, mask, full, minimum, keep, piece):
    steps = [MinimumSize(class_name="a", size=minimum)]
    if keep:
        steps.insert(0, LargestComponents(class_name="a", keep=keep))
    card = card_with(*steps, connectivity="full" if full else "face")
    folder = tmp_path_factory.getbasetemp()
    found, changes = processed(mask, card, folder, piece=piece)
    wanted = expected_removal(mask, 1, full=full, minimum=minimum, keep=keep)
    np.testing.assert_array_equal(found, wanted)
    assert changes.removed_pixels == (found != mask).sum()


@settings(max_examples=120, deadline=None)
@given(
    mask=masks(),
    full=st.booleans(),
    most=st.sampled_from((None, 1, 3)),
    piece=st.sampled_from((1, 7, 50, 1000)),
)
def test_filling_equals_scipy(tmp_path_factory, mask, full, most, piece):
    card = card_with(FillHoles(class_name="a", size=most), connectivity="full" if full else "face")
    found, changes = processed(mask, card, tmp_path_factory.getbasetemp(), piece=piece)
    np.testing.assert_array_equal(found, expected_fill(mask, 1, full=full, most=most))
    assert changes.filled_pixels == (found != mask).sum()
    np.testing.assert_array_equal(found[mask >= UNOBSERVED], mask[mask >= UNOBSERVED])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    shift=st.integers(0, 11),
    piece=st.sampled_from((1, 25, 1000)),
    full=st.booleans(),
)
def test_a_global_grid_is_the_same_wherever_it_is_cut(tmp_path_factory, seed, shift, piece, full):
    rng = np.random.default_rng(seed)
    mask = rng.choice([0, 1, 2], (8, 12), p=(0.35, 0.5, 0.15)).astype(np.uint8)
    card = card_with(
        MinimumSize(class_name="a", size=4),
        FillHoles(class_name="a"),
        connectivity="full" if full else "face",
    )
    folder = tmp_path_factory.getbasetemp()
    here, _ = processed(mask, card, folder, wraps=True)
    rolled, _ = processed(np.roll(mask, shift, axis=1), card, folder, wraps=True, piece=piece)
    np.testing.assert_array_equal(np.roll(here, shift, axis=1), rolled)


def test_holes_are_filled_after_small_parts_are_gone(tmp_path: Path) -> None:
    mask = np.ones((7, 7), np.uint8)
    mask[2:5, 2:5] = 0
    mask[3, 3] = 2  # a speck of b in the hole of a
    card = card_with(FillHoles(class_name="a"), MinimumSize(class_name="b", size=2))
    assert (processed(mask, card, tmp_path)[0] == 1).all()
    kept, changes = processed(mask, card_with(FillHoles(class_name="a")), tmp_path)
    assert kept[3, 3] == 2
    assert changes == Changes(
        filled_holes=1, filled_pixels=8, steps=[Change(FillHoles(class_name="a"), components=1, pixels=8)]
    )


def test_each_step_says_what_it_changed(tmp_path: Path) -> None:
    mask = np.zeros((9, 12), np.uint8)
    mask[0, :4] = mask[0, 6:8] = mask[0, 10] = 1  # 4, 2 and 1 pixels of a
    mask[2:5, :3] = mask[2:6, 5:9] = 2  # 9 and 16 of b
    mask[3, 1] = mask[3:5, 6] = mask[3, 10] = 0  # holes of 1 and 2 in them, and no hole
    mask[8, 11] = 2
    steps = (
        LargestComponents(class_name="a"),
        FillHoles(class_name="b", size=1),
        MinimumSize(class_name="b", size=2),
        MinimumSize(class_name="a", size=2),
    )
    _, changes = processed(mask, card_with(*steps), tmp_path)
    found = {(c.step.kind, c.step.class_name): (c.components, c.pixels) for c in changes.steps}
    assert found == {
        ("minimum_size", "a"): (1, 1),
        ("largest", "a"): (1, 2),
        ("minimum_size", "b"): (1, 1),
        ("fill_holes", "b"): (1, 1),
    }
    assert changes.as_json()["steps"][0] == {
        "kind": "minimum_size", "class_name": "a", "size": 2, "unit": "pixels", "components": 1, "pixels": 1,
    }  # fmt: skip
    assert (changes.removed_components, changes.removed_pixels) == (3, 4)
    _, nothing = processed(mask[:1], card_with(FillHoles(class_name="b")), tmp_path)
    assert [(c.components, c.pixels) for c in nothing.steps] == [(0, 0)]


def test_the_inner_of_nested_holes_wins(tmp_path: Path) -> None:
    mask = np.ones((9, 9), np.uint8)
    mask[1:8, 1:8] = 0
    mask[2:7, 2:7] = 2
    mask[4, 4] = 0
    found, _ = processed(mask, card_with(FillHoles(class_name="a"), FillHoles(class_name="b")), tmp_path)
    wanted = np.ones((9, 9), np.uint8)
    wanted[2:7, 2:7] = 2
    np.testing.assert_array_equal(found, wanted)


def test_true_sizes_decide_where_they_are_asked_for(tmp_path: Path) -> None:
    mask = np.zeros((6, 5), np.uint8)
    mask[0, :3] = 1  # 3 pixels of 10 m²
    mask[4, :4] = 1  # 4 pixels of 2 m²
    sizes = Rows(np.array([10, 10, 10, 2, 2, 2]))
    found, _ = processed(
        mask, card_with(MinimumSize(class_name="a", size=9, unit="m2")), tmp_path, sizes=sizes
    )
    assert found[0].tolist() == [1, 1, 1, 0, 0]
    assert not found[4].any()
    most_pixels, _ = processed(mask, card_with(LargestComponents(class_name="a")), tmp_path, sizes=sizes)
    assert not most_pixels[0].any()


def test_every_frame_keeps_its_own_largest(tmp_path: Path) -> None:
    mask = np.zeros((2, 2, 3, 6), np.uint8)
    mask[0, :, 0, :4] = mask[0, 0, 2, :2] = 1
    mask[1, 0, 2, :3] = mask[1, 1, 0, 5] = 1
    found, _ = processed(mask, card_with(LargestComponents(class_name="a")), tmp_path, piece=18)
    wanted = mask.copy()
    wanted[0, 0, 2] = wanted[1, 1, 0] = 0
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    "steps",
    [
        (LargestComponents(class_name="c"),),
        (FillHoles(class_name="ground"),),
        (FillHoles(class_name="a"), FillHoles(class_name="a", size=3)),
    ],
)
def test_steps_must_fit_the_classes(steps) -> None:
    with pytest.raises(ValidationError, match="postprocess"):
        card_with(*steps)


def test_units_must_be_the_images(array_image) -> None:
    info = array_image(np.zeros((4, 4, 1))).info
    check_units(card_with(MinimumSize(class_name="a", size=3)), info)
    with pytest.raises(InputError, match=r"m2.*pixels"):
        check_units(card_with(MinimumSize(class_name="a", size=3, unit="m2")), info)
