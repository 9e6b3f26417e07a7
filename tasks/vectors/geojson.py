"""Regions as GeoJSON of RFC 7946: WGS 84, outer rings counter-clockwise, cut at the antimeridian."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tasks.compiled import compiled
from tasks.errors import UsageError
from tasks.files import writing
from tasks.imagery.protocol import ImageInfo
from tasks.vectors.meridian import cut_at_meridian
from tasks.vectors.shapes import Shapes

if TYPE_CHECKING:
    import pyarrow as pa

#: About a centimetre: RFC 7946 asks not to pretend more.
DECIMALS = 7
#: Points a side that tell how much of the globe a raster spans; from so many degrees on edges are split.
_SIDE, _WIDE = 33, 90.0


def write_geojson(path: Path, groups: Iterator[tuple[Shapes, pa.Table]], *, info: ImageInfo) -> None:
    """Writes a feature a region, group by group.

    Args:
        path: The file.
        groups: Regions with their attributes.
        info: The raster's grid.

    Raises:
        UsageError: There is no CRS, so no place on the globe.
        OutputError: The file cannot be written.
    """
    import orjson

    check_crs(info)
    to_globe = _transformer(info.grid["crs"])
    longest = _longest_edge(info, to_globe)
    with writing(path), path.open("wb") as out:
        out.write(b'{"type":"FeatureCollection","features":[')
        first = True
        for shapes, table in groups:
            shapes = shapes if longest is None else _denser(shapes, longest)
            x, y = to_globe.transform(shapes.points[:, 0], shapes.points[:, 1])
            points = np.column_stack([x, y])
            for geometry, row in zip(_geometries(shapes, points), table.to_pylist(), strict=True):
                out.write(b"\n" if first else b",\n")
                first = False
                feature = {"type": "Feature", "id": row["id"], "geometry": geometry, "properties": row}
                out.write(orjson.dumps(feature, option=orjson.OPT_SERIALIZE_NUMPY))
        out.write(b"\n]}\n")


def check_crs(info: ImageInfo) -> None:
    """Refuses a raster without a place on the globe.

    Raises:
        UsageError: It has no CRS.
    """
    if info.grid["crs"] is None:
        raise UsageError(
            f"GeoJSON is in longitude and latitude and {info.source} has no CRS: ask for gpkg or geoparquet, or "
            "assign the CRS with gdal_edit -a_srs"
        )


def _longest_edge(info: ImageInfo, to_globe: Any) -> float | None:
    """Map units that an edge may have, where a raster is so large that the way round the globe matters."""
    a, b, c, d, e, f = info.grid["transform"][:6]
    height, width = info.shape
    columns, lines = np.meshgrid(np.linspace(0, width, _SIDE), np.linspace(0, height, _SIDE))
    lon, _ = to_globe.transform(c + a * columns + b * lines, f + d * columns + e * lines)
    steps = np.concatenate([np.diff(lon, axis=0).ravel(), np.diff(lon, axis=1).ravel()])
    steps = (steps[np.isfinite(steps)] + 180) % 360 - 180
    if np.isfinite(lon).all() and np.abs(steps).max(initial=0) < _WIDE / _SIDE:
        return None
    return max(np.hypot(a, d) * width, np.hypot(b, e) * height) / (4 * _SIDE)


def _denser(shapes: Shapes, longest: float) -> Shapes:
    points, ends = _split(shapes.points, shapes.ends, longest)
    return replace(shapes, points=points, ends=ends)


@compiled()
def _split(points: npt.NDArray[np.float64], ends: npt.NDArray[np.int64], longest: float) -> Any:
    """The same rings with points between, so that no edge is longer."""
    count = 0
    for i in range(len(points) - 1):
        count += max(
            1, math.ceil(np.hypot(points[i + 1, 0] - points[i, 0], points[i + 1, 1] - points[i, 1]) / longest)
        )
    out, new = np.empty((count + ends.size, 2)), np.zeros_like(ends)
    at = 0
    for ring in range(ends.size - 1):
        for i in range(ends[ring], ends[ring + 1] - 1):
            step = points[i + 1] - points[i]
            n = max(1, math.ceil(np.hypot(step[0], step[1]) / longest))
            for k in range(n):
                out[at] = points[i] + step * (k / n)
                at += 1
        out[at] = points[ends[ring + 1] - 1]
        at += 1
        new[ring + 1] = at
    return out[:at], new


def _transformer(crs: str) -> Any:
    import pyproj
    from pyproj.exceptions import ProjError

    from tasks.imagery.earth.globe import horizontal

    source = horizontal(pyproj.CRS.from_wkt(crs))
    try:
        return pyproj.Transformer.from_crs(source, "OGC:CRS84", always_xy=True)
    except ProjError:
        # Another planet: its own longitude and latitude are the nearest thing.
        return pyproj.Transformer.from_crs(source, source.geodetic_crs, always_xy=True)


def _geometries(shapes: Shapes, points: npt.NDArray[np.float64]) -> Iterator[dict[str, Any]]:
    ends = shapes.ends
    steps = np.abs(np.diff(points[:, 0], append=points[-1:, 0]))
    steps[ends[1:] - 1] = 0  # from one ring to the next
    odd = (steps > 180) | (np.abs(points[:, 0]) > 180) | ~np.isfinite(points).all(axis=1)
    careful = np.logical_or.reduceat(odd, ends[shapes.first[:-1]])
    rounded = points.round(DECIMALS) + 0.0  # no minus zero
    for i in range(len(shapes.regions)):
        parts: list[list[npt.NDArray[np.float64]]] = []
        source = points if careful[i] else rounded
        for ring in range(shapes.first[i], shapes.first[i + 1]):
            if shapes.outer[ring]:
                parts.append([])
            parts[-1].append(source[ends[ring] : ends[ring + 1]])
        if careful[i]:
            parts = [[r.round(DECIMALS) + 0.0 for r in p] for p in cut_at_meridian(parts, decimals=DECIMALS)]
        if len(parts) == 1:
            yield {"type": "Polygon", "coordinates": parts[0]}
        else:
            yield {"type": "MultiPolygon", "coordinates": parts}
