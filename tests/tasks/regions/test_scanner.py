"""Regions against scikit-image on the whole array, whatever the bands; wrap-around by rolling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label, regionprops

from tasks.regions.scanner import RegionScanner


@dataclass(frozen=True)
class Sizes:
    """Pixel sizes that vary along rows and, bilinearly, along columns."""

    rows: np.ndarray
    nodes: int = 1
    col_step: float = 1.0

    def lines(self, start, stop):
        return np.outer(self.rows[start:stop], 1 + np.arange(self.nodes) / 10)

    def total(self, shape):
        return float(self.rows.sum()) * shape[1]


def scan(
    codes,
    values=None,
    confidence=None,
    *,
    full=True,
    wraps=False,
    sizes=None,
    rows=3,
    probes=(),
    region_codes=(1, 2),
):
    values = np.zeros((*codes.shape, 1)) if values is None else values
    confidence = np.full(codes.shape, 255, np.uint8) if confidence is None else confidence
    scanner = RegionScanner(
        codes.shape,
        channels=values.shape[-1],
        region_codes=region_codes,
        full=full,
        wraps=wraps,
        sizes=sizes or Sizes(np.ones(codes.shape[0])),
        probes=probes,
    )
    cut = codes.ndim - 3 if codes.ndim > 3 else 0
    for lead in np.ndindex(*codes.shape[:cut]):
        for start in range(0, codes.shape[cut], rows):
            window = (
                *(slice(i, i + 1) for i in lead),
                slice(start, min(start + rows, codes.shape[cut])),
                *(slice(0, n) for n in codes.shape[cut + 1 :]),
            )
            scanner.feed(window, codes[window], confidence[window], values[window])
    return scanner.finish()


def expected(codes, *, full, region_codes=(1, 2)):
    """Components by scikit-image, class by class, ordered as DESIGN says."""
    out = []
    for code in region_codes:
        labels = label(codes == code, connectivity=codes.ndim if full else 1)
        found = []
        for r in regionprops(labels):
            first = int(np.flatnonzero(labels.reshape(-1) == r.label)[0])
            found.append((first, code, labels == r.label))
        out += sorted(found, key=lambda f: f[0])
    return out


@given(
    shape=st.sampled_from([(1, 1), (1, 17), (9, 1), (12, 15), (5, 6, 7), (1, 6, 9), (6, 1, 4)]),
    full=st.booleans(),
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 9),
    density=st.floats(0.2, 0.9),
)
@settings(max_examples=80, deadline=None)
def test_regions_equal_scikit_image(shape, full, seed, rows, density):
    rng = np.random.default_rng(seed)
    codes = np.where(
        rng.random(shape) < density, rng.integers(1, 3, shape), rng.choice([0, 255], shape)
    ).astype(np.uint8)
    values = rng.integers(0, 200, (*shape, 2)).astype(np.int16)
    confidence = rng.integers(0, 256, shape).astype(np.uint8)
    r = scan(codes, values, confidence, full=full, rows=rows)
    want = expected(codes, full=full)
    assert r.code.tolist() == [c for _, c, _ in want]
    assert r.first.tolist() == [f for f, _, _ in want]
    for i, (_, _, mask) in enumerate(want):
        where = np.argwhere(mask)
        if len(shape) == 2:
            where = np.column_stack([np.zeros(len(where), int), where])
        assert r.pixels[i] == mask.sum() == r.size[i]
        np.testing.assert_array_equal(r.low[i], where.min(0))
        np.testing.assert_array_equal(r.high[i], where.max(0) + 1)
        np.testing.assert_allclose(r.centroid[i], where.mean(0), atol=1e-9)
        np.testing.assert_allclose(r.means[i], values[mask].mean(0))
        np.testing.assert_allclose(r.confidence[i], confidence[mask].mean() / 255)
        touching = [
            mask.take([0, -1], axis=d).any() for d in range(len(shape)) if shape[d] > 1 or (len(shape) == 2)
        ]
        assert r.border[i] == any(touching)
    for code in np.unique(codes):
        assert r.code_pixels[code] == (codes == code).sum()


@pytest.mark.parametrize("nodes", [1, 4])
def test_sizes_are_integrated_pixel_by_pixel(nodes):
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 3, (10, 13)).astype(np.uint8)
    weights = rng.random(10) + 1
    step = 12 / 3 if nodes > 1 else 1.0
    r = scan(codes, sizes=Sizes(weights, nodes, step))
    along = 1 + np.arange(13) / step / 10 if nodes > 1 else np.ones(13)
    area = np.outer(weights, along)
    for i, (_, _, mask) in enumerate(expected(codes, full=True)):
        np.testing.assert_allclose(r.size[i], area[mask].sum())
    for code in range(3):
        np.testing.assert_allclose(r.code_sizes[code], area[codes == code].sum())


@given(seed=st.integers(0, 10_000), shift=st.integers(0, 19), full=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_wrapping_image_has_the_same_regions_wherever_it_is_cut(seed, shift, full):
    rng = np.random.default_rng(seed)
    codes = (rng.random((8, 20)) < 0.45).astype(np.uint8)
    values = rng.random((8, 20, 1))
    a = scan(codes, values, wraps=True, full=full)
    b = scan(np.roll(codes, shift, 1), np.roll(values, shift, 1), wraps=True, full=full)
    assert sorted(a.pixels.tolist()) == sorted(b.pixels.tolist())
    np.testing.assert_allclose(np.sort(a.means[:, 0]), np.sort(b.means[:, 0]))
    assert sorted((a.high - a.low)[:, 2].tolist()) == sorted((b.high - b.low)[:, 2].tolist())


def test_wrapping_extent_and_centroid_go_across_the_seam():
    codes = np.zeros((5, 20), np.uint8)
    codes[2, [18, 19, 0, 1, 2]] = 1
    r = scan(codes, wraps=True)
    assert r.pixels.tolist() == [5]
    assert (r.low[0, 2], r.high[0, 2]) == (18, 23)
    np.testing.assert_allclose(r.centroid[0, 2], 0.0, atol=1e-12)
    assert not r.border[0]
    plain = scan(codes, wraps=False)
    assert sorted(plain.pixels.tolist()) == [2, 3]
    assert plain.border.all()


def test_a_ring_around_the_globe_has_the_full_extent():
    codes = np.zeros((3, 12), np.uint8)
    codes[1] = 1
    r = scan(codes, wraps=True)
    assert (r.low[0, 2], r.high[0, 2]) == (0, 12)
    np.testing.assert_allclose(r.centroid[0, 2], 5.5)


def test_frames_are_never_connected():
    codes = np.ones((3, 2, 4, 5), np.uint8)
    r = scan(codes, sizes=Sizes(np.ones(2)), rows=1)
    assert r.frame.tolist() == [0, 1, 2]
    assert r.pixels.tolist() == [40, 40, 40]


def test_probes_name_the_region_below_them():
    codes = np.array([[1, 0, 2, 2], [1, 0, 0, 2], [0, 0, 0, 0]], np.uint8)
    r = scan(codes, probes=((1, 3), (2, 2), (0, 0)), rows=1)
    assert r.probes.tolist() == [2, 0, 1]


def test_bands_out_of_order_are_refused():
    scanner = RegionScanner(
        (4, 4), channels=1, region_codes=(1,), full=True, wraps=False, sizes=Sizes(np.ones(4))
    )
    a = np.zeros((2, 4), np.uint8)
    with pytest.raises(ValueError, match="out of order"):
        scanner.feed((slice(2, 4), slice(0, 4)), a, a, a[..., None])


def test_a_checkerboard_and_a_spiral_merge_right():
    codes = (np.indices((30, 31)).sum(0) % 2).astype(np.uint8)
    assert scan(codes, full=True, rows=4).pixels.tolist() == [465]
    assert scan(codes, full=False, rows=4).pixels.size == 465
    spiral = np.zeros((21, 21), np.uint8)
    low, high = 0, 20
    while low < high:
        spiral[low, low : high + 1] = 1
        spiral[low : high + 1, high] = 1
        spiral[high, low : high + 1] = 1
        spiral[low + 2 : high + 1, low] = 1
        spiral[low + 2, low : low + 2] = 1
        low, high = low + 2, high - 2
    r = scan(spiral, full=False, rows=1)
    assert r.pixels.tolist() == [int(spiral.sum())]


def test_many_components_across_the_seam_are_joined_each_with_its_own():
    rng = np.random.default_rng(4)
    codes = (rng.random((400, 9)) < 0.45).astype(np.uint8)
    values = rng.integers(0, 99, (400, 9, 1)).astype(np.int16)
    r = scan(codes, values, full=False, wraps=True, rows=50)
    # Twice side by side: what wraps is the part of a component that lies left of the second seam.
    roots = label(np.hstack([codes, codes]), connectivity=1)
    parent = dict(enumerate(range(roots.max() + 1)))

    def find(a):
        while parent[a] != a:
            a = parent[a]
        return a

    for a, b in zip(roots[:, :9].ravel(), roots[:, 9:].ravel(), strict=True):
        parent[max(find(a), find(b))] = min(find(a), find(b))
    merged = np.vectorize(find)(roots[:, :9])
    groups = [merged == k for k in np.unique(merged[codes > 0])]
    groups.sort(key=lambda g: int(np.flatnonzero(g)[0]))
    assert r.pixels.tolist() == [int(g.sum()) for g in groups]
    assert r.first.tolist() == [int(np.flatnonzero(g)[0]) for g in groups]
    np.testing.assert_allclose(r.means[:, 0], [values[g].mean() for g in groups])
    assert r.low[:, 1].tolist() == [int(np.argwhere(g)[:, 0].min()) for g in groups]
    assert r.high[:, 1].tolist() == [int(np.argwhere(g)[:, 0].max()) + 1 for g in groups]


def test_a_mask_without_an_image_has_the_same_regions():
    codes = np.random.default_rng(0).integers(0, 3, (9, 11), dtype=np.uint8)
    bare, seen = scan(codes, np.zeros((9, 11, 0))), scan(codes)
    assert bare.means.shape == (bare.code.size, 0)
    for name in ("code", "pixels", "first", "size", "border"):
        assert (getattr(bare, name) == getattr(seen, name)).all()
