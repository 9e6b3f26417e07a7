"""Fewer vertices with the same neighbours: borders are simplified once for both sides.

A border between two neighbours runs from junction to junction (where three codes meet, or at the image's
corners). Junctions stay; between them Douglas and Peucker's rule (1973) keeps the vertices that lie farther
than the tolerance from the line drawn without them. It looks at the border alone, in an order that does not
depend on the side it is walked along, so both neighbours keep the same vertices and no gap opens.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.compiled import compiled

_I32 = npt.NDArray[np.int32]
_I64 = npt.NDArray[np.int64]


class Simplifier:
    """Takes vertices of traced rings away.

    Args:
        tolerance: In pixels.
        width: Columns of the mask.

    Attributes:
        fixed: Borders, by their names, that keep all vertices.
    """

    def __init__(self, tolerance: float, *, width: int) -> None:
        self._tolerance, self._width = tolerance, width
        self.fixed = np.zeros(0, np.int64)

    def take(self, vertices: _I32, lengths: _I32) -> tuple[_I32, _I32]:
        """The vertices that stay, ``(n, 2)`` as traced, and how many of each ring."""
        keep = _keep(vertices, lengths, self._tolerance, self._width, self.fixed)
        starts = np.concatenate([[0], np.cumsum(lengths.astype(np.int64))[:-1]])
        counts = np.add.reduceat(keep, starts, dtype=np.int32) if lengths.size else lengths
        return vertices[keep], np.asarray(counts, np.int32)

    def borders(self, vertices: _I32, lengths: _I32) -> _I64:
        """Names of all borders that the given rings hold, the same from both sides."""
        return np.unique(_names(vertices, lengths, self._width))

    def fix(self, names: Iterable[_I64]) -> int:
        """Borders that keep all vertices from now on; how many are new."""
        before = self.fixed.size
        self.fixed = np.unique(np.concatenate([self.fixed, *names]))
        return self.fixed.size - before


@compiled()
def _less(v: _I32, i: int, j: int) -> bool:
    if v[i, 1] != v[j, 1]:
        return bool(v[i, 1] < v[j, 1])
    return bool(v[i, 0] < v[j, 0])


@compiled()
def _name(v: _I32, at: int, toward: int, width: int) -> int:
    """A border's end: its junction and the direction in which the border leaves it."""
    dx, dy = np.int64(v[toward, 0] >> 1) - (v[at, 0] >> 1), np.int64(v[toward, 1]) - v[at, 1]
    way = 0 if dx > 0 else 1 if dx < 0 else 2 if dy > 0 else 3
    return (np.int64(v[at, 1]) * (width + 1) + (v[at, 0] >> 1)) * 5 + way


@compiled()
def _border(v: _I32, begin: int, n: int, first: int, last: int, width: int) -> int:
    """The name of the border from ``first`` to ``last`` (counted from ``begin``, beyond ``n`` it goes round)."""
    a = _name(v, begin + first % n, begin + (first + 1) % n, width)
    b = _name(v, begin + last % n, begin + (last - 1) % n, width)
    return min(a, b)


@compiled()
def _starts(v: _I32, begin: int, n: int) -> Any:
    """Junctions of a ring; of one without, its first vertex in raster order, named as such."""
    count = 0
    at = np.empty(n, np.int64)
    for i in range(n):
        if v[begin + i, 0] & 1:
            at[count] = i
            count += 1
    if count:
        return at[:count], False
    least = 0
    for i in range(1, n):
        if _less(v, begin + i, begin + least):
            least = i
    at[0] = least
    return at[:1], True


@compiled()
def _names(v: _I32, lengths: _I32, width: int) -> _I64:
    out = np.empty(v.shape[0], np.int64)
    count, begin = 0, 0
    for n in lengths:
        starts, alone = _starts(v, begin, n)
        for k in range(starts.size):
            first = starts[k]
            last = starts[k + 1] if k + 1 < starts.size else starts[0] + n
            if alone:
                name = (np.int64(v[begin + first, 1]) * (width + 1) + (v[begin + first, 0] >> 1)) * 5 + 4
            else:
                name = _border(v, begin, n, first, last, width)
            out[count] = name
            count += 1
        begin += n
    return out[:count]


@compiled()
def _distance(v: _I32, p: int, a: int, b: int) -> float:
    """Squared distance of vertex ``p`` from the segment ``a b``, the same from both sides."""
    if _less(v, b, a):
        a, b = b, a
    ax, ay = float(v[a, 0] >> 1), float(v[a, 1])
    ux, uy = (v[b, 0] >> 1) - ax, v[b, 1] - ay
    wx, wy = (v[p, 0] >> 1) - ax, v[p, 1] - ay
    length = ux * ux + uy * uy
    t = 0.0 if length == 0 else min(1.0, max(0.0, (wx * ux + wy * uy) / length))
    wx -= t * ux
    wy -= t * uy
    return float(wx * wx + wy * wy)


@compiled()
def _farthest(v: _I32, begin: int, n: int, first: int, last: int) -> Any:
    """Of the vertices between two, the one farthest from their segment, the first in raster order of equals."""
    best, most = -1, -1.0
    a, b = begin + first % n, begin + last % n
    for i in range(first + 1, last):
        p = begin + i % n
        far = _distance(v, p, a, b)
        if far > most or (far == most and _less(v, p, begin + best % n)):
            best, most = i, far
    return best, most


@compiled()
def _thin(
    v: _I32, begin: int, n: int, first: int, last: int, limit: float,
    keep: npt.NDArray[np.bool_], stack: _I64,
) -> None:  # fmt: skip
    """Marks what stays between two vertices that stay."""
    stack[0, 0], stack[0, 1] = first, last
    top = 1
    while top:
        top -= 1
        a, b = stack[top, 0], stack[top, 1]
        best, far = _farthest(v, begin, n, a, b)
        if best >= 0 and far > limit:
            keep[begin + best % n] = True
            stack[top, 0], stack[top, 1] = a, best
            stack[top + 1, 0], stack[top + 1, 1] = best, b
            top += 2


@compiled()
def _keep(v: _I32, lengths: _I32, tolerance: float, width: int, fixed: _I64) -> npt.NDArray[np.bool_]:
    """Which vertices stay; of every ring three at least, if it has them."""
    keep = np.zeros(v.shape[0], np.bool_)
    longest = 0
    for n in lengths:
        longest = max(longest, n)
    stack = np.empty((longest + 2, 2), np.int64)
    limit = tolerance * tolerance
    begin = 0
    for n in lengths:
        starts, alone = _starts(v, begin, n)
        for k in range(starts.size):
            first = starts[k]
            last = starts[k + 1] if k + 1 < starts.size else starts[0] + n
            keep[begin + first] = True
            if alone:
                name = (np.int64(v[begin + first, 1]) * (width + 1) + (v[begin + first, 0] >> 1)) * 5 + 4
            else:
                name = _border(v, begin, n, first, last, width)
            at = np.searchsorted(fixed, name)
            if at < fixed.size and fixed[at] == name:
                for i in range(first, last):
                    keep[begin + i % n] = True
            elif first % n == last % n:
                # A loop: the vertex farthest from its one junction stays, so that it has two sides.
                best, _ = _farthest(v, begin, n, first, last)
                keep[begin + best % n] = True
                _thin(v, begin, n, first, best, limit, keep, stack)
                _thin(v, begin, n, best, last, limit, keep, stack)
            else:
                _thin(v, begin, n, first, last, limit, keep, stack)
        begin += n
    return keep
