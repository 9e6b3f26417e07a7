"""Regions as well-known binary, built by compiled loops: millions of polygons without an object each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tasks.compiled import compiled
from tasks.errors import OutputError
from tasks.vectors.shapes import Shapes

if TYPE_CHECKING:
    import pyarrow as pa

_POLYGON, _MULTIPOLYGON = 3, 6


def to_wkb(shapes: Shapes, *, multi: bool = False) -> pa.Array:
    """A binary array with a polygon or multipolygon a region, little-endian.

    Args:
        shapes: Regions.
        multi: A region of one piece is a multipolygon, too.

    Raises:
        OutputError: One region has more vertices than a file can hold in one geometry.
    """
    import pyarrow as pa

    offsets = _sizes(shapes.first, shapes.outer, shapes.ends, multi)
    if offsets[-1] > np.iinfo(np.int32).max:
        raise OutputError(
            f"region {shapes.regions[0] + 1} has {len(shapes.points)} vertices, too many for one geometry: "
            "give --simplify, or --min-size with the model's connectivity 'face'"
        )
    data = np.empty(int(offsets[-1]), np.uint8)
    _fill(shapes.first, shapes.outer, shapes.ends, shapes.points.view(np.uint8), multi, offsets, data)
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), len(shapes.regions), buffers)


@compiled()
def _pieces(first: int, last: int, outer: npt.NDArray[np.bool_]) -> int:
    n = 0
    for ring in range(first, last):
        n += outer[ring]
    return n


@compiled()
def _sizes(
    first: npt.NDArray[np.int64], outer: npt.NDArray[np.bool_], ends: npt.NDArray[np.int64], multi: bool
) -> npt.NDArray[np.int64]:
    out = np.zeros(first.size, np.int64)
    for i in range(first.size - 1):
        n = _pieces(first[i], first[i + 1], outer)
        size = 9 * n + (9 if multi or n > 1 else 0) + 4 * (first[i + 1] - first[i])
        out[i + 1] = out[i] + size + 16 * (ends[first[i + 1]] - ends[first[i]])
    return out


@compiled()
def _head(data: npt.NDArray[np.uint8], at: int, kind: int, count: int) -> int:
    data[at] = 1
    _word(data, at + 1, kind)
    _word(data, at + 5, count)
    return at + 9


@compiled()
def _word(data: npt.NDArray[np.uint8], at: int, value: int) -> None:
    for k in range(4):
        data[at + k] = (value >> (8 * k)) & 255


@compiled(boundscheck=False)
def _fill(
    first: npt.NDArray[np.int64],
    outer: npt.NDArray[np.bool_],
    ends: npt.NDArray[np.int64],
    points: npt.NDArray[Any],
    multi: bool,
    offsets: npt.NDArray[np.int64],
    data: npt.NDArray[np.uint8],
) -> None:
    """Writes every region at its offset; ``points`` are the bytes of x and y."""
    for i in range(first.size - 1):
        at = offsets[i]
        n = _pieces(first[i], first[i + 1], outer)
        if multi or n > 1:
            at = _head(data, at, _MULTIPOLYGON, n)
        ring = first[i]
        while ring < first[i + 1]:
            stop = ring + 1
            while stop < first[i + 1] and not outer[stop]:
                stop += 1
            at = _head(data, at, _POLYGON, stop - ring)
            for r in range(ring, stop):
                _word(data, at, ends[r + 1] - ends[r])
                at += 4
                for p in range(ends[r], ends[r + 1]):
                    for k in range(16):
                        data[at + k] = points[p, k]
                    at += 16
            ring = stop
