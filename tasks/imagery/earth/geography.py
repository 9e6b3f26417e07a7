"""Where pixels of a GeoTIFF lie on the globe, and how large they truly are."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.imagery.earth.areas import PixelAreas, pixel_areas
from tasks.imagery.earth.globe import horizontal
from tasks.imagery.protocol import ImageInfo

__all__ = ["PixelAreas", "lonlat", "lonlat_box", "lonlat_boxes", "pixel_areas"]

_F = npt.NDArray[np.float64]
_EDGE = 65
_INSIDE = 65
#: Boxes of up to so many pixels need so many points an edge: between two it is straight to a thousandth of
#: a pixel. Most regions are specks, whose corners are enough.
_SMALL_BOXES = {16: 1, 128: 8}
_TOGETHER = 1 << 14


def lonlat(info: ImageInfo, points: npt.ArrayLike) -> _F:
    """Pixel coordinates as WGS84 longitude and latitude.

    Args:
        info: Of a GeoTIFF.
        points: ``(n, 2)`` as row, column; ``(0, 0)`` is the centre of the first pixel.

    Returns:
        ``(n, 2)`` degrees, longitudes in −180…180. NaN without a CRS and where the
        projection has no inverse. On another planet: its own coordinates.
    """
    p = np.asarray(points, float).reshape(-1, 2)
    return _transform(info, p[:, 0] + 0.5, p[:, 1] + 0.5)


def lonlat_box(
    info: ImageInfo, box: tuple[float, float, float, float]
) -> tuple[float, float, float, float] | None:
    """The bounding box of a pixel box, as RFC 7946 wants it.

    Args:
        info: Of a GeoTIFF.
        box: ``(row_start, column_start, row_stop, column_stop)``, half open, so edges of
            pixels. On a global grid columns may run beyond the width.

    Returns:
        ``(west, south, east, north)`` in degrees; ``west > east`` where the box crosses the
        antimeridian; −180…180 and the pole's latitude where a pole lies inside. ``None``
        without a CRS, or if no part of the box lies on the globe.
    """
    if info.grid["crs"] is None:
        return None
    r0, c0, r1, c1 = box
    u = np.linspace(0, 1, _EDGE)[:-1]
    ends = np.ones_like(u)
    rows = r0 + (r1 - r0) * np.concatenate([0 * u, u, ends, 1 - u])
    cols = c0 + (c1 - c0) * np.concatenate([u, ends, 1 - u, 0 * u])
    ring = _transform(info, rows, cols)
    poles = _poles(info)
    inside_box = [latitude for latitude, row, col in poles if r0 <= row <= r1 and c0 <= col <= c1]
    if np.isfinite(ring).all():
        west, east = _span_of_ring(ring[:, 0])
        feet = _transform(info, *(v.ravel() for v in _feet(np.array([box], float), poles)))
        latitudes = np.concatenate([ring[:, 1], feet[np.isfinite(feet[:, 1]), 1]])
    else:
        grid_r, grid_c = np.meshgrid(np.linspace(r0, r1, _INSIDE), np.linspace(c0, c1, _INSIDE))
        inside = _transform(info, grid_r.ravel(), grid_c.ravel())
        seen = np.concatenate([ring, inside])
        seen = seen[np.isfinite(seen).all(axis=1)]
        if not len(seen):
            return None
        west, east = _span_of_cloud(seen[:, 0])
        latitudes = seen[:, 1]
    south, north = float(latitudes.min()), float(latitudes.max())
    if inside_box:
        west, east = -180.0, 180.0
        south = -90.0 if -90.0 in inside_box else south
        north = 90.0 if 90.0 in inside_box else north
    return west, south, east, north


def lonlat_boxes(info: ImageInfo, boxes: npt.ArrayLike) -> _F:
    """:func:`lonlat_box` of many boxes, small ones together.

    Args:
        info: Of a GeoTIFF.
        boxes: ``(n, 4)``, each as :func:`lonlat_box` takes it.

    Returns:
        ``(n, 4)`` as west, south, east, north; NaN where there is none.
    """
    b = np.asarray(boxes, float).reshape(-1, 4)
    out = np.full(b.shape, np.nan)
    if info.grid["crs"] is None or not len(b):
        return out
    plain = np.zeros(len(b), bool)
    poles = _poles(info)
    longest = (b[:, 2:] - b[:, :2]).max(axis=1)
    away = np.ones(len(b), bool)
    for _, row, col in poles:
        away &= ~((b[:, 0] <= row) & (row <= b[:, 2]) & (b[:, 1] <= col) & (col <= b[:, 3]))
    smaller = -np.inf
    for most, edge in _SMALL_BOXES.items():
        group = np.flatnonzero(away & (smaller < longest) & (longest <= most))
        smaller = most
        for at in np.split(group, range(_TOGETHER, len(group), _TOGETHER)):
            out[at], plain[at] = _few_points(info, b[at], edge, poles)
    for i in np.flatnonzero(~plain):
        r0, c0, r1, c1 = b[i].tolist()
        out[i] = lonlat_box(info, (r0, c0, r1, c1)) or (np.nan,) * 4
    return out


def _few_points(
    info: ImageInfo, boxes: _F, edge: int, poles: list[tuple[float, float, float]]
) -> tuple[_F, npt.NDArray[np.bool_]]:
    """Limits of the corners and ``edge - 1`` points between two, and where that is all there is to know."""
    u = np.arange(edge) / edge
    ends = np.ones_like(u)
    down = np.concatenate([0 * u, u, ends, 1 - u])
    along = np.concatenate([u, ends, 1 - u, 0 * u])
    feet_r, feet_c = _feet(boxes, poles)
    rows = np.hstack([boxes[:, :1] + (boxes[:, 2:3] - boxes[:, :1]) * down, feet_r])
    cols = np.hstack([boxes[:, 1:2] + (boxes[:, 3:4] - boxes[:, 1:2]) * along, feet_c])
    rings = _transform(info, rows.ravel(), cols.ravel()).reshape(len(boxes), rows.shape[1], 2)
    low, high = rings.min(axis=1), rings.max(axis=1)
    # A ring across the antimeridian, or off the globe, needs the careful way.
    return np.column_stack([low, high]), np.isfinite(low).all(axis=1) & (high[:, 0] - low[:, 0] < 180)


@functools.cache
def _transformers(wkt: str) -> tuple[Any, Any, bool]:
    """To degrees, back, and whether the CRS is projected."""
    import pyproj
    from pyproj.exceptions import ProjError

    crs = horizontal(pyproj.CRS.from_wkt(wkt))
    try:
        target = pyproj.CRS("OGC:CRS84")
        there = pyproj.Transformer.from_crs(crs, target, always_xy=True)
    except ProjError:
        # Not the Earth: PROJ knows no way between two planets.
        target = crs.geodetic_crs
        there = pyproj.Transformer.from_crs(crs, target, always_xy=True)
    return there, pyproj.Transformer.from_crs(target, crs, always_xy=True), bool(crs.is_projected)


def _transform(info: ImageInfo, rows: _F, cols: _F) -> _F:
    """Edge-based pixel coordinates (0 is the first pixel's outer edge) to degrees."""
    if info.grid["crs"] is None:
        return np.full((len(rows), 2), np.nan)
    a, b, c, d, e, f = info.grid["transform"]
    there, _, _ = _transformers(info.grid["crs"])
    lon, lat = there.transform(c + a * cols + b * rows, f + d * cols + e * rows)
    out = np.stack([np.asarray(lon, float), np.asarray(lat, float)], axis=1)
    out[~np.isfinite(out).all(axis=1)] = np.nan
    outside = np.abs(out[:, 0]) > 180
    out[outside, 0] = (out[outside, 0] + 180) % 360 - 180
    out[:, 1] = np.clip(out[:, 1], -90, 90)
    return out


def _poles(info: ImageInfo) -> list[tuple[float, float, float]]:
    """Latitude, row and column of each pole that the projection can show as a point."""
    _, back, projected = _transformers(info.grid["crs"])
    if not projected:
        return []
    a, b, c, d, e, f = info.grid["transform"]
    found = []
    for latitude in (-90.0, 90.0):
        x, y = back.transform(0.0, latitude)
        if np.isfinite([x, y]).all():
            col, row = np.linalg.solve(np.array([[a, b], [d, e]]), np.array([x - c, y - f]))
            found.append((latitude, float(row), float(col)))
    return found


def _feet(boxes: _F, poles: list[tuple[float, float, float]]) -> tuple[_F, _F]:
    """The point of each edge that is nearest to each pole, where latitude is extreme; ``(n, 4 · poles)``."""
    rows, cols = [np.zeros((len(boxes), 0))], [np.zeros((len(boxes), 0))]
    for _, row, col in poles:
        r = np.clip(row, boxes[:, 0], boxes[:, 2])
        c = np.clip(col, boxes[:, 1], boxes[:, 3])
        rows.append(np.stack([boxes[:, 0], boxes[:, 2], r, r], axis=1))
        cols.append(np.stack([c, c, boxes[:, 1], boxes[:, 3]], axis=1))
    return np.hstack(rows), np.hstack(cols)


def _span_of_ring(longitudes: _F) -> tuple[float, float]:
    """West and east end of a closed ring of neighbouring points."""
    steps = (np.diff(longitudes, append=longitudes[:1]) + 180) % 360 - 180
    walk = longitudes[0] + np.concatenate([[0.0], np.cumsum(steps[:-1])])
    first, last = int(walk.argmin()), int(walk.argmax())
    if walk[last] - walk[first] >= 360 - 1e-9:
        return -180.0, 180.0
    # The points' own values: sums of steps carry rounding.
    west, east = float(longitudes[first]), float(longitudes[last])
    return (-180.0 if west == 180.0 else west), (180.0 if east == -180.0 else east)


def _span_of_cloud(longitudes: _F) -> tuple[float, float]:
    """The complement of the widest gap between points; all round if no gap stands out."""
    s = np.sort(longitudes)
    gaps = np.diff(s, append=s[:1] + 360)
    k = int(gaps.argmax())
    if gaps[k] < 2 * 360 / _INSIDE:
        return -180.0, 180.0
    return float(s[(k + 1) % len(s)]), float(s[k])
