"""``--window``: a box in pixels, voxels or world coordinates, as a window of the image's own axes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tasks.errors import InputError, UsageError
from tasks.imagery.earth.globe import horizontal
from tasks.imagery.protocol import ImageInfo
from tasks.imagery.volume.orientation import axis_map, spatial
from tasks.tiling.grid import Index

_F = npt.NDArray[np.float64]
#: Edges nearer to a pixel's border than this share of a pixel lie on it.
SNAP = 1e-6
#: Points an edge when a box is carried into another coordinate system.
_EDGE = 65
FORMS = (
    "give ranges in the file's own order as 100:612,200:712 (rows, columns of a raster; i, j, k of a volume), "
    "world:XMIN,YMIN,XMAX,YMAX, world:X0,Y0,Z0,X1,Y1,Z1 (mm) or wgs84:WEST,SOUTH,EAST,NORTH"
)


@dataclass(frozen=True)
class Box:
    """A parsed window: ends per axis; an end left open is None.

    Attributes:
        kind: ``index`` (half-open, the file's own axes), ``world`` or ``wgs84`` (x first).
    """

    kind: Literal["index", "world", "wgs84"]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]


def parse_window(text: str) -> Box:
    """Reads a ``--window``.

    Raises:
        UsageError: It is none, or its ends are the wrong way round.
    """
    kind, _, rest = _split(text)
    parts = [p.strip() for p in rest.split(",")]
    if kind == "index":
        found = [re.fullmatch(r"(\d*)\s*:\s*(\d*)", p, re.ASCII) for p in parts]
        if not 2 <= len(parts) <= 3 or not all(found):
            raise UsageError(f"--window {text} is no box: {FORMS}")
        ends = [m.groups() for m in found if m]
        low: tuple[float | None, ...] = tuple(int(a) if a else None for a, _ in ends)
        high: tuple[float | None, ...] = tuple(int(b) if b else None for _, b in ends)
    else:
        try:
            values = [float(p) for p in parts]
        except ValueError as error:
            raise UsageError(f"--window {text} is no box: {FORMS}") from error
        if len(values) not in ((4, 6) if kind == "world" else (4,)) or not all(map(math.isfinite, values)):
            raise UsageError(f"--window {text} is no box: {FORMS}")
        half = len(values) // 2
        low, high = tuple(values[:half]), tuple(values[half:])
    if kind == "wgs84" and _wrong(low[0], high[0]):
        raise UsageError(
            f"--window {text} runs across the antimeridian, which a window cannot: give two runs, one on each side"
        )
    if any(_wrong(a, b) for a, b in zip(low, high, strict=True)):
        raise UsageError(f"--window {text} ends before it begins: give the smaller end of every axis first")
    return Box(kind, low, high)


def _split(text: str) -> tuple[Literal["index", "world", "wgs84"], str, str]:
    name, colon, rest = text.strip().partition(":")
    if name == "world":
        return "world", colon, rest
    if name == "wgs84":
        return "wgs84", colon, rest
    if name in ("pixel", "voxel"):
        return "index", colon, rest
    return "index", "", text.strip()


def _wrong(low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and low >= high


def locate_window(text: str, info: ImageInfo) -> tuple[Index, Index]:
    """The smallest window of whole pixels that holds the box, cut at the image's ends.

    Returns:
        Its first pixel and its end, along the image's axes (all frames of a series).

    Raises:
        UsageError: A box of another kind of image.
        InputError: It lies outside the image, or runs across the edge at which a global image wraps.
    """
    box = parse_window(text)
    if info.kind == "raster":
        low, high = _of_raster(box, info, text)
    else:
        low, high = _of_volume(box, info, text)
    shape = info.shape[-len(low) :]
    first = tuple(max(0, a) for a in low)
    last = tuple(min(h, n) for h, n in zip(high, shape, strict=True))
    if any(a >= h for a, h in zip(first, last, strict=True)):
        raise InputError(
            f"--window {text} lies outside {info.source}, which has {bounds_of(info)}: check its order"
        )
    lead = len(info.shape) - len(low)
    return (0,) * lead + first, info.shape[:lead] + last


def _of_raster(box: Box, info: ImageInfo, text: str) -> tuple[Index, Index]:
    if len(box.low) != 2:
        raise UsageError(
            f"--window {text} has {len(box.low)} axes and {info.source} has rows and columns: {FORMS}"
        )
    if box.kind == "index":
        return _indices(box, info.shape)
    if info.grid["crs"] is None and box.kind == "wgs84":
        raise InputError(
            f"{info.source} has no CRS, so --window {text} has no place in it: give pixels or world:"
        )
    (x0, y0), (x1, y1) = _known(box.low), _known(box.high)
    t = np.linspace(0, 1, _EDGE)
    x = np.concatenate([x0 + (x1 - x0) * t, x0 + (x1 - x0) * t, 0 * t + x0, 0 * t + x1])
    y = np.concatenate([0 * t + y0, 0 * t + y1, y0 + (y1 - y0) * t, y0 + (y1 - y0) * t])
    if box.kind == "wgs84":
        import pyproj

        crs = horizontal(pyproj.CRS.from_wkt(info.grid["crs"]))
        there = pyproj.Transformer.from_crs("OGC:CRS84", crs, always_xy=True)
        x, y = (np.asarray(v, float) for v in there.transform(x, y))
        if not (np.isfinite(x) & np.isfinite(y)).all():
            raise InputError(
                f"--window {text} reaches where the projection of {info.source} cannot: it has {bounds_of(info)}"
            )
    rows, columns = to_pixels(info, x, y)
    turn = full_turn(info)
    if turn:
        columns = columns - turn * math.floor((columns.min() + columns.max()) / 2 / turn)
        if info.wraps[-1] and (columns.min() < -SNAP or columns.max() > info.shape[-1] + SNAP):
            raise InputError(
                f"--window {text} runs across the edge where {info.source} wraps around the globe, which a window "
                f"cannot: give two runs, one on each side"
            )
        # A grid that does not go all the way round may begin beyond half a turn.
        if columns.min() >= info.shape[-1]:
            columns = columns - turn
    return (_floor(rows), _floor(columns)), (_ceil(rows), _ceil(columns))


def _of_volume(box: Box, info: ImageInfo, text: str) -> tuple[Index, Index]:
    if box.kind == "wgs84":
        raise UsageError(
            f"--window {text} is of the globe and {info.source} is a volume: give voxels or world: in mm"
        )
    native = spatial(tuple(info.grid["native_shape"]))
    if box.kind == "index":
        whole = Box(box.kind, (*box.low, None)[:3], (*box.high, None)[:3])
        low, high = _indices(whole, native)
    else:
        if len(box.low) != 3:
            raise UsageError(
                f"--window {text} has {len(box.low)} axes and {info.source} is a volume: {FORMS}"
            )
        affine = np.asarray(info.grid["affine"], float)
        ends = np.array([_known(box.low), _known(box.high)]) / float(info.grid["unit_mm"])
        corners = np.array(np.meshgrid(*ends.T)).reshape(3, -1).T
        # A voxel reaches half a step to each side of its centre.
        voxels = (corners - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T + 0.5
        low = tuple(_floor(v) for v in voxels.T)
        high = tuple(_ceil(v) for v in voxels.T)
    first, last = [], []
    for axis, flip in axis_map(info.grid["affine"]):
        n = native[axis]
        first.append(low[axis] if flip > 0 else n - high[axis])
        last.append(high[axis] if flip > 0 else n - low[axis])
    return tuple(first), tuple(last)


def _indices(box: Box, shape: Index) -> tuple[Index, Index]:
    low = tuple(0 if a is None else int(a) for a in box.low)
    high = tuple(n if b is None else int(b) for b, n in zip(box.high, shape, strict=True))
    return low, high


def _known(ends: tuple[float | None, ...]) -> tuple[float, ...]:
    return tuple(0.0 if v is None else v for v in ends)


def _floor(values: _F) -> int:
    return math.floor(float(values.min()) + SNAP)


def _ceil(values: _F) -> int:
    return math.ceil(float(values.max()) - SNAP)


def to_pixels(info: ImageInfo, x: Any, y: Any) -> tuple[_F, _F]:
    """World coordinates of a GeoTIFF's own CRS as rows and columns; 0 is the first pixel's outer edge."""
    a, b, c, d, e, f = info.grid["transform"]
    inverse = np.linalg.inv(np.array([[a, b], [d, e]]))
    columns, rows = inverse @ np.stack([np.asarray(x, float) - c, np.asarray(y, float) - f])
    return rows, columns


def full_turn(info: ImageInfo) -> float:
    """Columns once around the globe, or 0 where columns do not follow parallels."""
    if info.wraps[-1]:
        return float(info.shape[-1])
    a, b, _, d, _, _ = info.grid["transform"]
    if info.grid["crs"] is None or b or d:
        return 0.0
    import pyproj

    crs = horizontal(pyproj.CRS.from_wkt(info.grid["crs"]))
    if not crs.is_geographic:
        return 0.0
    return float(2 * math.pi / crs.axis_info[0].unit_conversion_factor / abs(a))


def bounds_of(info: ImageInfo) -> str:
    """The image's extent in pixels and in its world, for a sentence."""
    if info.kind == "raster":
        a, b, c, d, e, f = info.grid["transform"]
        height, width = info.shape
        x = [c + a * i + b * j for i in (0, width) for j in (0, height)]
        y = [f + d * i + e * j for i in (0, width) for j in (0, height)]
        return f"rows 0:{height}, columns 0:{width}, x {min(x):.10g} to {max(x):.10g} and y {min(y):.10g} to {max(y):.10g}"
    native = spatial(tuple(info.grid["native_shape"]))
    affine = np.asarray(info.grid["affine"], float)
    corners = np.array(np.meshgrid(*((-0.5, n - 0.5) for n in native))).reshape(3, -1)
    places = (affine[:3, :3] @ corners + affine[:3, 3:]) * float(info.grid["unit_mm"])
    voxels = ", ".join(f"{name} 0:{n}" for name, n in zip("ijk", native, strict=True))
    world = ", ".join(f"{n} {p.min():.6g} to {p.max():.6g}" for n, p in zip("xyz", places, strict=True))
    return f"voxels {voxels} and {world} mm"
