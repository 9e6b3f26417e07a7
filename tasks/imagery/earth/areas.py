"""True areas of pixels: on the ellipsoid of the image's own CRS, whatever its projection."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tasks.imagery.earth.ellipsoid import Ellipsoid
from tasks.imagery.earth.globe import horizontal
from tasks.imagery.protocol import ImageInfo

_F = npt.NDArray[np.float64]

#: Bilinear interpolation between nodes stays within this, relative.
TOLERANCE = 1e-7
_MAX_NODES = 2049**2
_FEW = 1 << 14
_MANY = 1 << 17
_MAX_SUPPORT = 129
#: Step of the numerical derivative, m: far above rounding (1e-9 m), far below the Earth's curvature.
_DELTA = 1000.0
#: From this pixel size on (m), the area density is integrated over the pixel, not taken at its centre.
_FINE = 500.0


@dataclass(frozen=True)
class PixelAreas:
    """Areas on a lattice of pixel centres; linear in between.

    Node ``(i, j)`` lies at pixel-centre coordinates ``(i · row_step, j · col_step)``, where
    ``(0, 0)`` is the centre of the first pixel. With one column (or row) of nodes, areas do
    not change along that axis.

    Attributes:
        lattice: ``(ny, nx)`` float64, in ``unit``.
        row_step: Rows between nodes; need not be a whole number.
        col_step: Columns between nodes.
        unit: ``m2``, or ``pixels`` where the image has no CRS.
        error: Largest relative error of the interpolation seen when the lattice was made
            (0 where it is exact).
    """

    lattice: _F
    row_step: float
    col_step: float
    unit: Literal["m2", "pixels"]
    error: float = 0.0

    def at(self, rows: npt.ArrayLike, cols: npt.ArrayLike) -> _F:
        """Areas of pixels by interpolation; the definition that a kernel must follow.

        Args:
            rows: Pixel rows (0 is the first row's centre), any shape.
            cols: Pixel columns, broadcast against ``rows``.
        """
        i, u = _cell(np.asarray(rows, float) / self.row_step, self.lattice.shape[0])
        j, v = _cell(np.asarray(cols, float) / self.col_step, self.lattice.shape[1])
        i1, j1 = np.minimum(i + 1, self.lattice.shape[0] - 1), np.minimum(j + 1, self.lattice.shape[1] - 1)
        z = self.lattice
        top = z[i, j] + (z[i, j1] - z[i, j]) * v
        bottom = z[i1, j] + (z[i1, j1] - z[i1, j]) * v
        return np.asarray(top + (bottom - top) * u)

    def total(self, shape: tuple[int, int]) -> float:
        """Area of the whole grid: what ``at`` gives for every pixel, summed node by node."""
        down = _shares(shape[0], self.row_step, self.lattice.shape[0])
        along = _shares(shape[1], self.col_step, self.lattice.shape[1])
        return math.fsum((down * (self.lattice @ along)).tolist())


def _shares(size: int, step: float, n: int) -> _F:
    """How much each of ``n`` nodes counts in a sum over ``size`` pixels, interpolated linearly."""
    i, u = _cell(np.arange(size) / step, n)
    after = np.minimum(i + 1, n - 1)
    return np.asarray(np.bincount(i, 1 - u, minlength=n) + np.bincount(after, u, minlength=n), float)


def _cell(x: _F, n: int) -> tuple[npt.NDArray[np.intp], _F]:
    i = np.clip(np.floor(x), 0, max(n - 2, 0)).astype(np.intp)
    return i, (x - i if n > 1 else np.zeros_like(x))


def pixel_areas(info: ImageInfo) -> PixelAreas:
    """The true area of every pixel of a GeoTIFF.

    - No CRS: 1 pixel each.
    - Geographic, not rotated: one node a row, in closed form.
    - Anything else: the local area density is taken from the projection itself, numerically,
      on the sphere of equal area, and the lattice refined until interpolation is within
      ``TOLERANCE``.
    - A local CRS that no ellipsoid belongs to: the plane's own area in m².
    """
    height, width = info.shape[-2:]
    a, b, c, d, e, f = info.grid["transform"]
    determinant = abs(a * e - b * d)
    if info.grid["crs"] is None:
        return _constant(1.0, height, width, "pixels")
    import pyproj

    crs = horizontal(pyproj.CRS.from_wkt(info.grid["crs"]))
    if not crs.is_geographic and not crs.is_projected:
        unit = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
        return _constant(determinant * unit**2, height, width, "m2")
    ellipsoid = ellipsoid_of(crs)
    if crs.is_geographic:
        unit = crs.axis_info[0].unit_conversion_factor
        if not b and not d:
            # Edges as f + e·row, clipped at the poles: grids of pixel centres often reach beyond.
            half_pi = math.pi / 2
            edges = np.clip((f + e * np.arange(height + 1)) * unit, -half_pi, half_pi)
            areas = np.abs(ellipsoid.band(edges[:-1], edges[1:])) * abs(a) * unit
            return PixelAreas(areas[:, np.newaxis], 1.0, float(width), "m2")

        def geographic(rows: _F, cols: _F) -> _F:
            latitude = (f + d * (cols + 0.5) + e * (rows + 0.5)) * unit
            density = ellipsoid.density(np.clip(latitude, -math.pi / 2, math.pi / 2))
            return np.asarray(density * determinant * unit**2)

        size = math.sqrt(determinant) * unit * ellipsoid.a
        return _lattice(_over_pixel(geographic, size), height, width)
    unit = crs.axis_info[0].unit_conversion_factor
    density = _projected_density(crs, ellipsoid, _DELTA / unit)

    def projected(rows: _F, cols: _F) -> _F:
        x = c + a * (cols + 0.5) + b * (rows + 0.5)
        y = f + d * (cols + 0.5) + e * (rows + 0.5)
        return density(x, y) * determinant

    return _lattice(_over_pixel(projected, math.sqrt(determinant) * unit), height, width)


def ellipsoid_of(crs: Any) -> Ellipsoid:
    """The ellipsoid of a ``pyproj.CRS``."""
    a, b = crs.ellipsoid.semi_major_metre, crs.ellipsoid.semi_minor_metre
    return Ellipsoid(a, (a - b) * (a + b) / a**2)


def _constant(value: float, height: int, width: int, unit: Literal["m2", "pixels"]) -> PixelAreas:
    return PixelAreas(np.full((1, 1), value), float(height), float(width), unit)


def _projected_density(crs: Any, ellipsoid: Ellipsoid, delta: float) -> Callable[[_F, _F], _F]:
    """True m² per square unit of the projected plane, by central differences of fourth order."""
    import pyproj

    transformer = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    radius2 = ellipsoid.quarter

    def vector(x: _F, y: _F) -> _F:
        lon, lat = transformer.transform(x, y, radians=True)
        return ellipsoid.authalic(lon, lat)

    def density(x: _F, y: _F) -> _F:
        def slope(dx: float, dy: float) -> _F:
            near = vector(x + dx, y + dy) - vector(x - dx, y - dy)
            far = vector(x + 2 * dx, y + 2 * dy) - vector(x - 2 * dx, y - 2 * dy)
            return np.asarray((8 * near - far) / (12 * delta))

        with np.errstate(invalid="ignore", over="ignore"):
            return np.asarray(radius2 * np.linalg.norm(np.cross(slope(delta, 0), slope(0, delta)), axis=-1))

    return density


def _over_pixel(point: Callable[[_F, _F], _F], size: float) -> Callable[[_F, _F], _F]:
    """Pixel areas from ``point`` (density × pixel): at the centre, or by 3 × 3 Gauss points where large."""
    if size < _FINE:
        return point
    nodes, weights = np.polynomial.legendre.leggauss(3)

    def mean(rows: _F, cols: _F) -> _F:
        total = np.zeros(np.broadcast_shapes(rows.shape, cols.shape))
        for u, wu in zip(nodes / 2, weights / 2, strict=True):
            for v, wv in zip(nodes / 2, weights / 2, strict=True):
                total += wu * wv * point(rows + u, cols + v)
        return total

    return mean


def _lattice(area: Callable[[_F, _F], _F], height: int, width: int) -> PixelAreas:
    """Refines each axis until halving its step changes nothing beyond ``TOLERANCE``.

    Exact areas are costly (projections each), so they are taken on a support that a cubic
    spline carries to the finer lattice that linear interpolation needs. An axis with a node
    for every pixel is exact.
    """
    spline, spline_error = _support(area, height, width)
    ny, nx = min(2, height), min(2, width)
    while True:
        error_y = _linear_error(spline, (ny, height), (nx, width), axis=0)
        error_x = _linear_error(spline, (ny, height), (nx, width), axis=1)
        more_y = _finer(ny, height) if error_y > TOLERANCE / 4 else ny
        more_x = _finer(nx, width) if error_x > TOLERANCE / 4 else nx
        if (more_y, more_x) == (ny, nx) or more_y * more_x > _MAX_NODES:
            break
        ny, nx = more_y, more_x
    rows, cols = _nodes(ny, height), _nodes(nx, width)
    # A spline that did not settle is used only where exact areas would take minutes.
    if ny * nx <= (_FEW if spline_error < TOLERANCE / 10 else _MANY):
        lattice, spline_error = _filled(area(rows[:, np.newaxis], cols[np.newaxis])), 0.0
    else:
        lattice = spline(rows, cols)
    return PixelAreas(
        np.ascontiguousarray(lattice),
        _step(ny, height),
        _step(nx, width),
        "m2",
        error_y + error_x + spline_error,
    )


def _finer(n: int, size: int) -> int:
    return min(2 * n - 1, size)


def _nodes(n: int, size: int) -> _F:
    return np.linspace(0, size - 1, n) if n > 1 else np.zeros(1)


def _step(n: int, size: int) -> float:
    return (size - 1) / (n - 1) if n > 1 else float(size)


def _linear_error(
    spline: Callable[[_F, _F], _F], rows: tuple[int, int], cols: tuple[int, int], *, axis: int
) -> float:
    """Relative error half way between nodes along ``axis``, seen on a few lines across it."""
    n, size = (rows, cols)[axis]
    if n == size:
        return 0.0
    other, other_size = (rows, cols)[1 - axis]
    along, across = _nodes(2 * n - 1, size), _nodes(min(max(other, 9), 65), other_size)
    values = spline(along, across) if axis == 0 else spline(across, along).T
    return _gap(values[1::2], (values[:-1:2] + values[2::2]) / 2)


def _gap(exact: _F, guess: _F) -> float:
    return float(np.max(np.abs(guess / exact - 1))) if exact.size else 0.0


def _support(area: Callable[[_F, _F], _F], height: int, width: int) -> tuple[Callable[[_F, _F], _F], float]:
    """A bicubic spline through exact areas, good to a tenth of ``TOLERANCE``, and its error."""
    from scipy.interpolate import RectBivariateSpline

    n = 9
    while True:
        rows, cols = _nodes(n, max(height, 2)), _nodes(n, max(width, 2))
        spline = RectBivariateSpline(rows, cols, _filled(area(rows[:, np.newaxis], cols[np.newaxis])))
        between_r, between_c = (rows[:-1] + rows[1:]) / 2, (cols[:-1] + cols[1:]) / 2
        exact = area(between_r[:, np.newaxis], between_c[np.newaxis])
        seen = np.isfinite(exact)
        error = _gap(exact[seen], spline(between_r, between_c)[seen])
        if n >= _MAX_SUPPORT or error < TOLERANCE / 10:
            return spline, error
        n = 2 * n - 1


def _filled(values: _F) -> _F:
    """Where the projection has no inverse (corners of a global map), the nearest area that exists."""
    missing = ~np.isfinite(values)
    if not missing.any():
        return values
    if missing.all():
        raise ValueError("no pixel of the grid lies on the globe")
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(missing, return_distances=False, return_indices=True)
    return np.asarray(values[tuple(nearest)])
