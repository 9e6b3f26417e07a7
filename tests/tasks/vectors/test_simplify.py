"""Simplified polygons keep their neighbours: no gap, no overlap along shared borders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.vectors.simplify import Simplifier
from tests.tasks.vectors.polygons import polygons, trace


def smooth(seed: int, side: int = 60, classes: int = 3) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(np.random.default_rng(seed).random((side, side)), 4)
    return (np.digitize(field, np.quantile(field, [0.4, 0.7][: classes - 1])) + 1).astype(np.uint8)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), tolerance=st.sampled_from([0.5, 0.75, 1.0]))
def test_a_covered_image_stays_covered(
    tmp_path_factory: pytest.TempPathFactory, seed: int, tolerance: float
) -> None:
    mask = smooth(seed)
    traced = trace(mask, tmp_path_factory.mktemp("rings") / "rings", full=False, noded=True)
    before = polygons(traced)
    after = polygons(traced, simplifier=Simplifier(tolerance, width=mask.shape[1]))
    assert shapely.get_num_coordinates(after).sum() < shapely.get_num_coordinates(before).sum()
    # Every piece of the image belongs to exactly one class, so what one loses its neighbour gains.
    assert shapely.area(after).sum() == pytest.approx(mask.size)
    assert shapely.area(shapely.union_all(after)) == pytest.approx(mask.size)
    assert (shapely.hausdorff_distance(before, after) <= tolerance + 1).all()


def test_staircase_becomes_a_line(tmp_path: Path) -> None:
    mask = (np.tri(40, dtype=np.uint8) + 1).astype(np.uint8)
    traced = trace(mask, tmp_path / "rings", noded=True)
    found = polygons(traced, simplifier=Simplifier(1.0, width=40))
    assert [len(shapely.get_coordinates(g)) for g in found] <= [6, 6]
    assert sorted(shapely.area(found).round()) == pytest.approx(sorted(traced.pixels), abs=40)


def test_fixed_borders_keep_every_vertex_on_both_sides(tmp_path: Path) -> None:
    mask = smooth(3)
    traced = trace(mask, tmp_path / "rings", full=False, noded=True)
    simplifier = Simplifier(2.0, width=mask.shape[1])
    vertices = np.fromfile(traced.file, np.int32).reshape(-1, 2)
    order = np.argsort(traced.offset)
    simplifier.fix([simplifier.borders(vertices, traced.length[order])])
    before, after = polygons(traced), polygons(traced, simplifier=simplifier)
    assert shapely.equals_exact(before, after).all()
