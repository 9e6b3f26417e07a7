"""The outline of a raster on the Earth, as GeoJSON (RFC 7946) in WGS 84."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

#: Points per side of the raster: straight sides are curves on the Earth.
DENSITY = 24


@dataclass(frozen=True)
class Footprint:
    """Where a raster lies.

    Attributes:
        geometry: GeoJSON polygon or multipolygon, cut at the antimeridian.
        bbox: West, south, east, north; west exceeds east where the raster crosses the antimeridian.
    """

    geometry: dict[str, Any]
    bbox: list[float]


def footprint(grid: dict[str, Any], shape: tuple[int, ...]) -> Footprint | None:
    """The outline of a raster's pixels.

    Args:
        grid: ``crs`` (WKT or None) and ``transform`` (a b c d e f).
        shape: Rows and columns.

    Returns:
        None without a CRS, or where the outline has no place on the Earth (a full disc's corners).
    """
    import shapely
    from pyproj import Transformer
    from pyproj.exceptions import CRSError, ProjError

    if not grid.get("crs"):
        return None
    try:
        to_earth = Transformer.from_crs(grid["crs"], "OGC:CRS84", always_xy=True)
        x, y = _border(grid["transform"], shape)
        lon, lat = to_earth.transform(x, y)
    except (CRSError, ProjError):
        return None
    good = np.isfinite(lon) & np.isfinite(lat)
    if not good.all() or good.sum() < 4:
        return None
    lon, lat = _unwrap(lon), np.clip(lat, -90, 90)
    turn = lon[-1] - lon[0]
    if abs(turn) > 180:  # the outline goes round a pole: close it there
        pole = np.copysign(90.0, lat.mean())
        lon, lat = np.append(lon, [lon[-1], lon[0]]), np.append(lat, [pole, pole])
    shape_ = shapely.make_valid(shapely.Polygon(np.column_stack([lon, lat])))
    west, south, east, north = shape_.bounds
    if east - west >= 360 - 1e-9:
        west, east = -180.0, 180.0
    bbox = [_wrap(west, up=False), south, _wrap(east, up=True), north]
    cut = _cut(shape_.simplify(1e-7))
    if cut.is_empty:
        return None
    return Footprint(_rounded(shapely.geometry.mapping(cut)), [round(float(v), 7) for v in bbox])


def _border(
    transform: list[float], shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """A closed, densified ring along the outer pixel edges, counter-clockwise in a north-up raster."""
    a, b, c, d, e, f = transform[:6]
    height, width = shape[-2:]
    t = np.linspace(0.0, 1.0, DENSITY, endpoint=False)
    column = np.concatenate([0 * t, t, 0 * t + 1, 1 - t, [0.0]]) * width
    row = np.concatenate([t, 0 * t + 1, 1 - t, 0 * t, [0.0]]) * height
    return a * column + b * row + c, d * column + e * row + f


def _unwrap(lon: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Longitudes without jumps along a ring."""
    out: npt.NDArray[np.float64] = np.unwrap(lon, period=360.0)
    return out


def _wrap(lon: float, *, up: bool) -> float:
    """A longitude in -180…180; the ends stay apart: 180 as an eastern, -180 as a western limit."""
    wrapped = (lon + 180.0) % 360.0 - 180.0
    if abs(wrapped) == 180.0:
        return 180.0 if up else -180.0
    return wrapped


def _cut(shape: BaseGeometry) -> BaseGeometry:
    """The parts of a shape with continuous longitudes, each moved into -180…180."""
    import shapely
    from shapely.affinity import translate

    west, _, east, _ = shape.bounds
    parts = []
    for k in range(int(np.floor((west + 180) / 360)), int(np.ceil((east + 180) / 360))):
        window = shapely.box(-180 + 360 * k, -91, 180 + 360 * k, 91)
        part = shape.intersection(window)
        parts += [
            p for p in shapely.get_parts(translate(part, xoff=-360.0 * k)) if p.geom_type.endswith("Polygon")
        ]
    return shapely.orient_polygons(shapely.union_all(parts))


def _rounded(value: Any) -> Any:
    """Coordinates to 1e-7 degrees (a centimetre), as lists."""
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_rounded(v) for v in value]
    return round(value, 7) if isinstance(value, float) else value
