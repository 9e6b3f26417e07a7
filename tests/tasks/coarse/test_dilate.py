"""The bitmap of a region against scipy's dilation of the enlarged mask, for any pieces, axes, factors and edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from tasks.coarse import dilate
from tasks.coarse.dilate import dilated_area, write_found
from tasks.tiling import area as areas


def reference(found, shape, margin, coarsen, *, wraps):
    """Every pixel as its box, then a box of ones as wide as the margin; around the globe with copies beside."""
    large = found
    for axis, f in enumerate(coarsen):
        large = np.repeat(large, f, axis=axis)
    large = large[tuple(map(slice, shape))]
    if wraps:
        large = np.concatenate([large] * 3, axis=-1)
    for axis, m in enumerate(margin):
        line = np.ones([2 * m + 1 if i == axis else 1 for i in range(large.ndim)])
        large = binary_dilation(large, line)
    return large[..., shape[-1] : 2 * shape[-1]] if wraps else large


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_any_margin_and_factor(data, tmp_path_factory):
    shape = tuple(data.draw(st.lists(st.integers(1, 25), min_size=2, max_size=3)))
    margin = tuple(data.draw(st.integers(0, 6)) for _ in shape)
    coarsen = tuple(data.draw(st.integers(1, 4)) for _ in shape)
    wraps = shape[-1] > 2 * margin[-1] and data.draw(st.booleans())
    grid = tuple(-(-n // f) for n, f in zip(shape, coarsen, strict=True))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    marked = rng.random(grid) > data.draw(st.sampled_from([0.5, 0.95, 1.0]))
    folder = tmp_path_factory.mktemp("region")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dilate, "PIECE", data.draw(st.sampled_from([1, 300, 1 << 22])))
        patch.setattr(areas, "STRIP_PIXELS", data.draw(st.sampled_from([1, 50, 1 << 22])))
        rows = data.draw(st.integers(1, grid[0]))
        parts = (marked[i : i + rows] for i in range(0, grid[0], rows))
        found = write_found(parts, (0,) * len(grid), grid, folder / "found.npy")
        area, pixels = dilated_area(
            found,
            shape,
            margin=margin,
            coarsen=coarsen,
            wraps=(False,) * (len(shape) - 1) + (wraps,),
            folder=folder,
        )
    want = reference(marked, shape, margin, coarsen, wraps=wraps)
    have = np.zeros(shape, bool)
    if area.bitmap is not None:
        have[tuple(map(slice, area.low, area.high))] = area.inside(area.low, area.high)
    np.testing.assert_array_equal(have, want)
    assert pixels == want.sum()
    assert found.count == marked.sum()
    assert any(a >= h for a, h in zip(area.low, area.high, strict=True)) == (not want.any())


def test_what_was_looked_at_may_be_a_part(tmp_path):
    marked = np.zeros((4, 5), bool)
    marked[0, 4] = marked[3, 0] = True
    found = write_found(iter([marked]), (10, 20), (14, 25), tmp_path / "found.npy")
    assert (found.first, found.last, found.count) == ((10, 20), (14, 25), 2)
    area, pixels = dilated_area(
        found, (30, 30), margin=(1, 2), coarsen=(1, 1), wraps=(False, False), folder=tmp_path
    )
    want = np.zeros((30, 30), bool)
    want[9:12, 22:27] = want[12:15, 18:23] = True
    have = np.zeros_like(want)
    have[tuple(map(slice, area.low, area.high))] = area.inside(area.low, area.high)
    np.testing.assert_array_equal(have, want)
    assert pixels == 30
