"""Polygons of a mask: GDAL's counts and areas, valid, and the same however the mask is cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tasks.regions.scanner import RegionScanner
from tasks.regions.sizes import VoxelSizes
from tests.tasks.vectors.polygons import polygons, reference, trace

MASKS = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 2))
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rings") / "rings"


@settings(max_examples=150, deadline=None)
@given(mask=MASKS, full=st.booleans(), noded=st.booleans(), cuts=st.lists(st.integers(0, 12), max_size=3))
def test_counts_and_areas_are_those_of_gdal(
    file: Path, mask: npt.NDArray[Any], full: bool, noded: bool, cuts: list[int]
) -> None:
    cuts = [c for c in cuts if c < len(mask)]
    traced = trace(mask, file, full=full, noded=noded, cuts=cuts)
    found = polygons(traced)
    assert shapely.is_valid(found).all()
    assert shapely.is_ccw(shapely.get_exterior_ring(shapely.get_parts(found))).all()
    mine = sorted(zip(traced.code.tolist(), shapely.area(found).tolist(), strict=True))
    assert mine == reference(mask, full=full)
    whole = polygons(trace(mask, file, full=full, noded=noded))
    assert shapely.equals_exact(found, whole).all()
    assert len(found) == len(whole)


@settings(max_examples=100, deadline=None)
@given(mask=MASKS, full=st.booleans(), wraps=st.booleans())
def test_ids_are_those_of_the_region_table(
    file: Path, mask: npt.NDArray[Any], full: bool, wraps: bool
) -> None:
    traced = trace(mask, file, full=full, wraps=wraps)
    scanner = RegionScanner(
        mask.shape, channels=0, region_codes=(1, 2), full=full, wraps=wraps, sizes=VoxelSizes(1)
    )
    nothing = np.zeros(mask.shape, np.uint8)
    scanner.feed(
        (slice(0, mask.shape[0]), slice(0, mask.shape[1])), mask, nothing, nothing[..., np.newaxis][..., :0]
    )
    regions = scanner.finish()
    np.testing.assert_array_equal(traced.code[: regions.code.size], regions.code)
    np.testing.assert_array_equal(traced.pixels, regions.pixels)
    # The first pixel of each region, as the scanner knows it, lies in the polygon of the same id.
    y, x = np.divmod(regions.first, mask.shape[1])
    assert shapely.contains_xy(polygons(traced), x + 0.5, y + 0.5).all()


@settings(max_examples=50, deadline=None)
@given(mask=MASKS, full=st.booleans())
def test_polygons_burn_back_to_the_mask(file: Path, mask: npt.NDArray[Any], full: bool) -> None:
    from rasterio.features import rasterize

    traced = trace(mask, file, full=full)
    burnt = np.zeros_like(mask)
    pairs = list(zip(polygons(traced), traced.code.tolist(), strict=True))
    if pairs:
        rasterize(pairs, out=burnt)
    np.testing.assert_array_equal(burnt, mask)


@pytest.mark.parametrize(
    ("rows", "kinds", "holes"),
    [
        (["1"], ["Polygon"], 0),
        (["0"], [], 0),
        (["111", "101", "111"], ["Polygon"], 1),
        # Its own hole touches it at a corner from inside …
        (["1110", "1011", "1111"], ["Polygon"], 1),
        # … and here the ring closes round a hole only across a corner, which does not enclose it.
        (["110", "101", "011"], ["MultiPolygon"], 0),
        # Holes in an island in a hole.
        (["11111", "10001", "10101", "10001", "11111"], ["Polygon", "Polygon"], 1),
        # Two holes that touch each other at a corner are two.
        (["1111", "1011", "1101", "1111"], ["Polygon"], 2),
    ],
)  # fmt: skip
def test_forms_by_hand(file: Path, rows: list[str], kinds: list[str], holes: int) -> None:
    mask = np.array([[int(c) for c in row] for row in rows], np.uint8)
    found = polygons(trace(mask, file))
    assert [g.geom_type for g in found] == kinds
    assert sum(int(shapely.get_num_interior_rings(p)) for p in shapely.get_parts(found)) == holes
    assert shapely.is_valid(found).all()


def test_a_region_across_the_seam_of_a_globe_is_one(file: Path) -> None:
    mask = np.array([[1, 0, 0, 1], [0, 0, 0, 1], [2, 0, 2, 0]], np.uint8)
    assert trace(mask, file, wraps=False).pixels.tolist() == [1, 2, 1, 1]
    traced = trace(mask, file, wraps=True)
    assert traced.pixels.tolist() == [3, 1, 1]
    assert polygons(traced)[0].geom_type == "MultiPolygon"


@pytest.mark.parametrize("full", [False, True])
def test_a_checkerboard_is_traced_whole(file: Path, full: bool) -> None:
    side = 300
    mask = ((np.indices((side, side)).sum(axis=0) % 2) + 1).astype(np.uint8)
    traced = trace(mask, file, full=full, cuts=[1, 128])
    assert traced.code.size == (2 if full else side * side)
    assert traced.outer.all()
    assert traced.outer.size == side * side
    assert (traced.length == 4).all()


def test_nothing_is_left_open_at_a_comb(file: Path) -> None:
    """Teeth that join in the last line keep a chain open for each until then, and labels merge late."""
    mask = np.zeros((70, 4001), np.uint8)
    mask[:, ::2] = 1
    mask[-1] = 1
    traced = trace(mask, file, cuts=[7])
    assert traced.pixels.tolist() == [int(mask.sum())]
    (comb,) = polygons(traced)
    assert comb.geom_type == "Polygon"
    assert comb.area == mask.sum()
