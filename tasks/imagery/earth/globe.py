"""Whether a grid goes once around its globe, and whether it lies on it at all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.errors import InputError
from tasks.imagery.protocol import ImageInfo

_F = npt.NDArray[np.float64]
#: Points along a row, and rows, that are looked at.
_ALONG = 33
_ROWS = 9
#: Points a side that tell whether any of a grid lies on the globe.
_SIDE = 65
#: Latitudes of one row of a cylindrical projection agree within this, degrees.
_LEVEL = 1e-6


def horizontal(crs: Any) -> Any:
    """The horizontal part of a compound or bound ``pyproj.CRS``."""
    if crs.is_bound and crs.source_crs is not None:
        crs = crs.source_crs
    if crs.is_compound:
        crs = crs.sub_crs_list[0]
    return crs.to_2d()


def goes_round(wkt: str, transform: tuple[float, ...], shape: tuple[int, ...]) -> bool:
    """Whether the first and last column are neighbours: 360° from edge to edge, within half a pixel.

    A grid in degrees does if it is not rotated, whatever its first meridian and whether north
    or south is up; a projected one if, besides, every row follows a parallel evenly
    (a whole world in Mercator or Plate Carrée, not one in Mollweide).

    Args:
        wkt: The CRS.
        transform: Six numbers, GDAL's affine order.
        shape: Rows and columns.
    """
    a, b, c, d, e, f = transform
    height, width = shape
    if b or d or width < 2:
        return False
    import pyproj

    crs = horizontal(pyproj.CRS.from_wkt(wkt))
    if crs.is_geographic:
        turn = 2 * math.pi / crs.axis_info[0].unit_conversion_factor
        return abs(width * abs(a) - turn) <= abs(a) / 2
    if not crs.is_projected:
        return False
    cols, rows = np.linspace(0.5, width - 0.5, _ALONG), np.linspace(0.5, height - 0.5, _ROWS)
    lon, lat = _degrees(crs, c + a * cols[np.newaxis], f + e * rows[:, np.newaxis])
    seen = np.isfinite(lon) & np.isfinite(lat)
    lon, lat = lon[seen.any(axis=1)], lat[seen.any(axis=1)]
    if not seen.any() or not np.isfinite(lon).all() or np.ptp(lat, axis=1).max() > _LEVEL:
        return False
    steps = (np.diff(lon, axis=1) + 180) % 360 - 180
    pixel = steps.sum(axis=1) / (width - 1)
    even = np.abs(steps - steps.mean(axis=1, keepdims=True)).max(axis=1) <= np.abs(pixel) / 2
    return bool((even & (np.abs(width * np.abs(pixel) - 360) <= np.abs(pixel) / 2)).all())


def check_on_earth(info: ImageInfo) -> None:
    """Refuses a raster whose CRS and geotransform cannot both be right; reads no pixels.

    A volume, a raster without CRS and one on a local plane pass.

    Raises:
        InputError: Latitudes beyond a pole by more than a pixel (metres labelled as degrees), or
            no part of the grid on the globe.
    """
    if info.field != "earth" or info.grid["crs"] is None:
        return
    import pyproj

    crs = horizontal(pyproj.CRS.from_wkt(info.grid["crs"]))
    a, b, c, d, e, f = info.grid["transform"]
    height, width = info.shape[-2:]
    remedy = "CRS and geotransform do not belong together: assign the right ones with gdal_edit.py"
    if crs.is_geographic:
        unit = math.degrees(crs.axis_info[0].unit_conversion_factor)
        corners = [(f + d * col + e * row) * unit for col in (0, width) for row in (0, height)]
        furthest = max(corners, key=abs)
        if abs(furthest) > 90 + (abs(d) + abs(e)) * unit:
            raise InputError(
                f"{info.source} reaches latitude {furthest:g}° in {crs.name}, beyond the pole; {remedy} "
                f"(-a_srs, -a_ullr)."
            )
    elif crs.is_projected:
        cols = np.linspace(0, width, _SIDE)[np.newaxis]
        rows = np.linspace(0, height, _SIDE)[:, np.newaxis]
        lon, lat = _degrees(crs, c + a * cols + b * rows, f + d * cols + e * rows)
        if not (np.isfinite(lon) & np.isfinite(lat)).any():
            raise InputError(
                f"{info.source} has no point on the globe: {crs.name} cannot hold x near {c:g} and y near {f:g}; "
                f"{remedy} (-a_srs, -a_ullr)."
            )


def _degrees(crs: Any, x: _F, y: _F) -> tuple[_F, _F]:
    """Longitude and latitude on the CRS's own globe; not finite where the projection has no inverse."""
    import pyproj

    x, y = np.broadcast_arrays(x, y)
    to = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    lon, lat = to.transform(x, y, radians=True)
    return np.degrees(lon), np.degrees(lat)
