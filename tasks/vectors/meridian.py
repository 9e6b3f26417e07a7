"""Polygons across the antimeridian, or round a pole, as polygons that do not cross it (RFC 7946, 3.1.9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_Ring = npt.NDArray[np.float64]


def cut_at_meridian(parts: Sequence[Sequence[_Ring]], *, decimals: int) -> list[list[_Ring]]:
    """Cuts polygons into pieces between -180 and 180 degrees.

    Rings are walked by the shorter way from point to point. One that comes back a turn later goes round a
    pole, and is led over it.

    Args:
        parts: Polygons, each its outer ring and its holes, longitude and latitude, closed.
        decimals: To which the points will be rounded.

    Returns:
        Polygons of the same form; none where nothing of a polygon has a place on the globe.
    """
    import shapely

    pieces = []
    for rings in parts:
        walked = [w for w in (_walk(r) for r in rings) if w is not None]
        if not walked:
            continue
        middle = float(walked[0][:, 0].mean())
        # A hole lies a turn away from its outer ring only by where its walk began.
        holes = [w + _turns(middle - w[:, 0].mean()) for w in walked[1:]]
        polygon = shapely.make_valid(shapely.Polygon(walked[0], holes))
        west, _, east, _ = polygon.bounds
        for turn in range(int(np.floor((west + 180) / 360)), int(np.floor((east + 180) / 360)) + 1):
            strip = shapely.box(-180 + 360 * turn, -90, 180 + 360 * turn, 90)
            inside = shapely.intersection(polygon, strip)
            pieces.append(shapely.transform(inside, lambda p, t=turn: p - _turns(360 * t)))
    # What was led over a pole meets itself where its walk began.
    whole = shapely.union_all(pieces, grid_size=10.0**-decimals)
    return [_rings(p) for p in shapely.get_parts(whole) if p.geom_type == "Polygon" and not p.is_empty]


def _walk(ring: _Ring) -> _Ring | None:
    """A ring without jumps; over the pole that it goes round, if it does."""
    ring = ring[np.isfinite(ring).all(axis=1)]
    if len(ring) < 4:
        return None
    steps = np.diff(ring[:, 0])
    steps = steps - 360 * np.round(steps / 360)
    walked = ring.copy()
    walked[1:, 0] = ring[0, 0] + np.cumsum(steps)
    turn = walked[-1, 0] - walked[0, 0]
    if abs(turn) < 180:
        walked[-1] = walked[0]
        return walked
    pole = 90.0 if turn > 0 else -90.0  # counter-clockwise round what it holds
    over = [[walked[-1, 0], pole], [walked[0, 0], pole], walked[0]]
    return np.vstack([walked, over])


def _turns(away: float) -> npt.NDArray[np.float64]:
    return np.array([360 * np.round(away / 360), 0.0])


def _rings(polygon: Any) -> list[_Ring]:
    import shapely
    from shapely.geometry.polygon import orient

    oriented = orient(polygon)
    rings = [shapely.get_exterior_ring(oriented)]
    rings += [shapely.get_interior_ring(oriented, i) for i in range(shapely.get_num_interior_rings(oriented))]
    return [shapely.get_coordinates(r) for r in rings]
