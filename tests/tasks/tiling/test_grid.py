"""Geometry: every pixel is covered, starts lie on the stride, cells partition the image."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.tiling.grid import Axis, make_grid


def any_axis(size, steps, overlap_steps, stride, wraps):
    return size, steps * stride, min(overlap_steps, steps - 1) * stride, stride, wraps


axes = st.builds(
    any_axis,
    st.integers(1, 200),
    st.integers(1, 12),
    st.integers(0, 11),
    st.sampled_from([1, 2, 4, 8]),
    st.booleans(),
)
small_axes = st.builds(
    any_axis, st.integers(1, 30), st.integers(1, 5), st.integers(0, 4), st.sampled_from([2, 4]), st.booleans()
)


@given(axes)
def test_tiles_cover_every_pixel_and_start_on_the_stride(axis):
    size, tile, overlap, stride, wraps = axis
    a = Axis(size=size, tile=tile, step=tile - overlap, wraps=wraps)
    seen = np.zeros(size, int)
    for k in range(a.count):
        assert a.start(k) % stride == 0
        low, high = a.inside(k)
        assert low < high
        seen[low:high] += 1
    assert seen.min() >= 1
    if wraps and overlap:
        # The halo of the outermost pixels lies inside a tile, on both ends.
        assert a.start(0) <= -overlap
        assert a.start(a.count - 1) + tile >= size + overlap


@given(axes)
def test_touching_is_what_inside_says(axis):
    size, tile, overlap, _, wraps = axis
    a = Axis(size=size, tile=tile, step=tile - overlap, wraps=wraps)
    low, high = size // 3, max(size // 3 + 1, size // 2)
    expected = [k for k in range(a.count) if a.inside(k)[0] < high and a.inside(k)[1] > low]
    assert list(a.touching(low, high)) == expected


@given(axes)
def test_reflected_sources_equal_numpy_pad(axis):
    size, tile, overlap, _, _ = axis
    a = Axis(size=size, tile=tile, step=tile - overlap)
    row = np.arange(size)
    end = max(a.start(a.count - 1) + tile, size)
    padded = np.pad(row, (0, end - size), mode="reflect")
    for k in range(a.count):
        sources, usable = a.sources(k, "reflect")
        np.testing.assert_array_equal(row[sources], padded[a.start(k) : a.start(k) + tile])
        assert usable.all()


def test_wrapping_sources_come_from_the_opposite_edge():
    a = Axis(size=10, tile=4, step=2, wraps=True)
    sources, _ = a.sources(0, "reflect")
    assert sources.tolist() == [8, 9, 0, 1]
    sources, _ = a.sources(a.count - 1, "reflect")
    assert sources.tolist()[-1] == 1


def test_zero_padding_is_not_usable():
    sources, usable = Axis(size=3, tile=8, step=8).sources(0, "zero")
    assert usable.tolist() == [True] * 3 + [False] * 5
    assert sources.max() == 2


@given(small_axes, small_axes, st.integers(1, 5), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_cells_partition_the_image_and_know_their_owners(first, second, m, n):
    grid = make_grid(
        (first[0], second[0]),
        tile=(first[1], second[1]),
        overlap=(first[2], second[2]),
        block=(m, n),
        wraps=(False, second[4]),
    )
    covered = np.zeros(grid.shape, int)
    touched = {}
    for number in range(grid.block_count):
        index = grid.block_index(number)
        assert grid.block_number(index) == number
        mask = np.zeros(grid.shape, bool)
        for tile in grid.block_tiles(index):
            mask[tuple(slice(*a.inside(k)) for a, k in zip(grid.axes, tile, strict=True))] = True
        touched[index] = mask
        low, high = grid.block_span(index)
        assert mask[tuple(slice(a, h) for a, h in zip(low, high, strict=True))].all()
        assert mask.sum() == np.prod([h - a for a, h in zip(low, high, strict=True)])
    for cell in grid.cells((0, 0), grid.shape):
        box = tuple(slice(a, h) for a, h in zip(cell.low, cell.high, strict=True))
        covered[box] += 1
        for index, mask in touched.items():
            assert mask[box].all() == (index in cell.owners)
            assert mask[box].any() == (index in cell.owners)
    assert (covered == 1).all()
