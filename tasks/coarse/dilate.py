"""The bitmap of a region of interest: what the coarse stage found, enlarged to the image's grid and by a margin.

Both files hold eight pixels a byte and are read and written in bounded pieces.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.files import atomic_write
from tasks.tiling.area import Area, write_area
from tasks.tiling.grid import Index

_Bits = npt.NDArray[np.bool_]
#: Pixels of a piece, the margin around it included, unless the margin alone is more.
PIECE = 1 << 22
#: Bytes that a pixel of a piece takes while it is dilated.
PIXEL_BYTES = 14


@dataclass(frozen=True)
class Found:
    """Pixels of a coarse stage that make the region.

    Attributes:
        low: First pixel of what it looked at, per axis of its grid.
        high: Its end.
        bitmap: ``.npy`` file of that box, eight pixels a byte along the last axis.
        count: Pixels of the region.
        first: First pixel of a box that holds them all; meaningless without any.
        last: Its end.
    """

    low: Index
    high: Index
    bitmap: Path
    count: int
    first: Index
    last: Index

    def read(self, cells: tuple[npt.NDArray[np.int64], ...]) -> _Bits:
        """The pixels at the product of coordinates along each axis; False beyond what was looked at."""
        shape = [c.size for c in cells]
        out = np.zeros(shape, bool)
        known = [(c >= a) & (c < h) for c, a, h in zip(cells, self.low, self.high, strict=True)]
        if not all(k.any() for k in known):
            return out
        at = [c[k] - a for c, k, a in zip(cells, known, self.low, strict=True)]
        packed: npt.NDArray[np.uint8] = np.load(self.bitmap, mmap_mode="r")
        first, last = int(at[-1].min()) // 8, int(at[-1].max()) // 8
        part = packed[np.ix_(*at[:-1], np.arange(first, last + 1))]
        bits = np.unpackbits(part, axis=-1)[..., at[-1] - 8 * first]
        out[np.ix_(*known)] = bits.astype(bool)
        return out


def write_found(parts: Iterator[_Bits], low: Index, high: Index, path: Path) -> Found:
    """Writes the pixels of a region, given band by band in raster order.

    Args:
        parts: Consecutive full lines of the box.
        low: First pixel of the box.
        high: Its end.
        path: The bitmap's file.

    Raises:
        OutputError: It cannot be written.
    """
    shape = tuple(h - a for a, h in zip(low, high, strict=True))
    width = shape[-1]
    count, line = 0, 0
    first = np.array(high, np.int64)
    last = np.array(low, np.int64)
    with atomic_write(path) as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": (*shape[:-1], -(-width // 8))}
        np.lib.format.write_array_header_1_0(stream, header)
        for part in parts:
            lines = part.reshape(-1, width)
            stream.write(np.packbits(lines, axis=-1).tobytes())
            marked = np.flatnonzero(lines.any(axis=1))
            if marked.size:
                count += int(lines.sum())
                rows = np.stack(np.unravel_index(line + marked, shape[:-1]), axis=1) + np.array(low[:-1])
                columns = np.flatnonzero(lines.any(axis=0)) + low[-1]
                first = np.minimum(first, [*rows.min(axis=0), columns[0]])
                last = np.maximum(last, [*(rows.max(axis=0) + 1), columns[-1] + 1])
            line += len(lines)
    return Found(low, high, path, count, tuple(first.tolist()), tuple(last.tolist()))


def dilated_area(
    found: Found,
    shape: Index,
    *,
    margin: Index,
    coarsen: Index,
    wraps: tuple[bool, ...],
    folder: Path,
) -> tuple[Area, int]:
    """The region on the image's grid.

    A pixel belongs to it if a box of ``2 · margin + 1`` pixels around it meets one that the coarse stage found.

    Args:
        found: What the coarse stage found.
        shape: Of the image.
        margin: Pixels on every side, per axis.
        coarsen: Pixels of the image that make one of the coarse stage, per axis.
        wraps: Per axis, whether its ends are neighbours.
        folder: Takes the bitmap.

    Returns:
        The area, whose window is empty if nothing was found, and its pixels.
    """
    nothing = (0,) * len(shape)
    if not found.count:
        return Area(nothing, nothing, "nothing"), 0
    low, high = [], []
    for a, h, n, m, f, w in zip(found.first, found.last, shape, margin, coarsen, wraps, strict=True):
        p, q = a * f - m, min(h * f, n) + m
        across = w and (p < 0 or q > n)
        low.append(0 if across else max(0, p))
        high.append(n if across else min(n, q))
    count = 0

    def bits(first: Index, last: Index) -> _Bits:
        nonlocal count
        out = np.empty([h - a for a, h in zip(first, last, strict=True)], bool)
        for p, q in _pieces(first, last, margin, coarsen):
            at = tuple(slice(a - o, h - o) for a, h, o in zip(p, q, first, strict=True))
            out[at] = _dilated(found, p, q, shape, margin=margin, coarsen=coarsen, wraps=wraps)
        count += int(out.sum())
        return out

    area = write_area(tuple(low), tuple(high), bits, lead=0, folder=folder)
    assert area is not None
    return area, count


def dilating_bytes(margin: Index, coarsen: Index) -> int:
    """What :func:`dilated_area` holds at once."""
    return PIXEL_BYTES * _most(margin, coarsen)


def _most(margin: Index, coarsen: Index) -> int:
    """Pixels of the coarse stage that a piece sees at most; near what a single pixel sees, cutting helps no more."""
    alone = math.prod(2 * m // f + 2 for m, f in zip(margin, coarsen, strict=True))
    return max(PIECE, 4 * alone)


def _pieces(low: Index, high: Index, margin: Index, coarsen: Index) -> Iterator[tuple[Index, Index]]:
    """Boxes whose pixels of the coarse stage, margin included, are bounded."""
    own = [h - a for a, h in zip(low, high, strict=True)]
    wide = [-(-(n + 2 * m) // f) + 1 for n, m, f in zip(own, margin, coarsen, strict=True)]
    if max(math.prod(wide), math.prod(own)) <= _most(margin, coarsen) or max(own) == 1:
        yield low, high
        return
    d = int(np.argmax(own))
    middle = low[d] + own[d] // 2
    yield from _pieces(low, (*high[:d], middle, *high[d + 1 :]), margin, coarsen)
    yield from _pieces((*low[:d], middle, *low[d + 1 :]), high, margin, coarsen)


def _dilated(
    found: Found,
    low: Index,
    high: Index,
    shape: Index,
    *,
    margin: Index,
    coarsen: Index,
    wraps: tuple[bool, ...],
) -> _Bits:
    axes = [_Reach(*axis) for axis in zip(low, high, shape, margin, coarsen, wraps, strict=True)]
    bits: npt.NDArray[Any] = found.read(tuple(a.cells for a in axes))
    for d, axis in enumerate(axes):
        before = np.zeros([n + (i == d) for i, n in enumerate(bits.shape)], np.int32)
        after = tuple(slice(1, None) if i == d else slice(None) for i in range(bits.ndim))
        np.cumsum(bits, axis=d, dtype=np.int32, out=before[after])
        bits = np.take(before, axis.end, axis=d) > np.take(before, axis.begin, axis=d)
    return bits


class _Reach:
    """Along one axis: pixels of the coarse stage around those of a box, and which of them each one sees.

    Attributes:
        cells: Coordinates on the coarse stage's grid.
        begin: Per pixel of the box, the position of the first that it sees.
        end: Of the last, plus one.
    """

    def __init__(self, low: int, high: int, size: int, margin: int, factor: int, wraps: bool) -> None:
        first, last = low - margin, high + margin
        if not wraps:
            first, last = max(0, first), min(size, last)
        seen = np.arange(first, last, dtype=np.int64) % size // factor
        new = np.ones(seen.size, bool)
        new[1:] = seen[1:] != seen[:-1]
        self.cells = seen[new]
        position = np.cumsum(new) - 1
        pixels = np.arange(low, high, dtype=np.int64)
        self.begin = position[np.maximum(pixels - margin, first) - first]
        self.end = position[np.minimum(pixels + margin, last - 1) - first] + 1
