"""Whether two masks lie on one grid, and how large its steps are."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.errors import InputError
from tasks.evaluation.sources import Codes
from tasks.imagery.protocol import ImageInfo

#: How far a corner may be from its twin, in pixels.
TOLERANCE = 0.01


def check_same_grid(truth: Codes, prediction: Codes) -> None:
    """Refuses masks whose pixels do not lie on each other.

    Files without a grid (PNG, a data set's truth) are compared by their size alone.

    Raises:
        InputError: Names both files and what differs.
    """
    if truth.shape != prediction.shape:
        ours, theirs = (" × ".join(map(str, reversed(c.shape))) for c in (prediction, truth))
        raise InputError(
            f"{prediction.name} has {ours} pixels but {truth.name} has {theirs}: resample one onto the other's grid"
        )
    a, b = truth.info, prediction.info
    if a is None or b is None:
        return
    if a.format != b.format:
        raise InputError(
            f"{prediction.name} is a {b.format} file but {truth.name} a {a.format} file: convert one of them"
        )
    if a.kind == "raster":
        _check_crs(a, b, prediction=prediction.name, truth=truth.name)
    away = _largest_shift(a, b)
    if not away <= TOLERANCE:
        raise InputError(
            f"{prediction.name} and {truth.name} are of one size but not in one place: a corner is "
            f"{away:.3g} pixels off; resample one onto the other's grid"
        )


def _check_crs(a: ImageInfo, b: ImageInfo, *, prediction: str, truth: str) -> None:
    from rasterio.crs import CRS

    systems = [CRS.from_wkt(i.grid["crs"]) if i.grid["crs"] else None for i in (a, b)]
    if systems[0] != systems[1]:
        said = [str(s.to_string())[:60] if s else "none" for s in systems]
        raise InputError(
            f"the coordinate system of {prediction} is {said[1]} but that of {truth} {said[0]}: "
            "reproject one of them, or assign the right one with gdal_edit -a_srs"
        )


def _largest_shift(a: ImageInfo, b: ImageInfo) -> float:
    """Over all corners, how far apart both grids put them, in pixels of the first."""
    first, second = _matrix(a), _matrix(b)
    sizes = a.shape[-(len(first) - 1) :]
    corners = np.array([[*c, 1.0] for c in itertools.product(*((-0.5, n - 0.5) for n in sizes))])
    moved = np.linalg.solve(first, second @ corners.T).T
    return float(np.abs(moved - corners).max())


def _matrix(info: ImageInfo) -> npt.NDArray[np.float64]:
    """From canonical indices, slowest axis first, to the world."""
    if info.kind == "raster":
        a, b, c, d, e, f = info.grid["transform"]
        return np.array([[b, a, c + (a + b) / 2], [e, d, f + (d + e) / 2], [0, 0, 1]], np.float64)
    from tasks.imagery.volume.orientation import world

    origin, *ends = world(info, np.vstack([np.zeros(3), np.eye(3)]))
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([end - origin for end in ends]).T
    matrix[:3, 3] = origin
    return matrix


def spacing_of(info: ImageInfo | None, *, axes: int) -> tuple[tuple[float, ...], str]:
    """Size of a pixel per axis, slowest first, and its unit: mm, m, or pixels where nothing better is known."""
    plain = (1.0,) * axes, "pixels"
    if info is None:
        return plain
    if info.kind == "volume":
        steps = tuple(float(v) for v in info.grid["spacing"][-axes:])
        return (steps, "mm") if all(v > 0 for v in steps) else plain
    factor = _metres(info.grid["crs"])
    if factor is None:
        return plain
    a, b, _, d, e, _ = info.grid["transform"]
    return (float(np.hypot(b, e)) * factor, float(np.hypot(a, d)) * factor), "m"


def _metres(wkt: Any) -> float | None:
    """Metres per unit of a projected coordinate system."""
    from rasterio.crs import CRS

    crs = CRS.from_wkt(wkt) if wkt else None
    return float(crs.linear_units_factor[1]) if crs is not None and crs.is_projected else None
