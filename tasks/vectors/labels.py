"""Runs of a line, and which piece and region each belongs to: the tracer's labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.compiled import compiled

_I32 = npt.NDArray[np.int32]
_I64 = npt.NDArray[np.int64]

#: Rows of ``line``, the runs of one line: first column, code (-1 outside), label (-1 not wanted), first
#: vertex of the chain that goes up its left edge, last vertex of the chain that comes down its right edge.
START, CODE, LABEL, LEFT, RIGHT = range(5)


@compiled()
def find(parent: _I32, a: int) -> int:
    """The first label of a label's set; halves the way."""
    while parent[a] != a:
        parent[a] = parent[parent[a]]
        a = parent[a]
    return a


@compiled()
def unite(parent: _I32, a: int, b: int) -> int:
    """Joins two sets; the smaller label, first in raster order, stands for both."""
    a, b = find(parent, a), find(parent, b)
    if a > b:
        a, b = b, a
    parent[b] = a
    return a


@compiled(boundscheck=False)
def runs_of(codes: npt.NDArray[Any], line: _I32) -> int:
    """The runs of one line between two outside ones; the number of all."""
    nx = codes.size
    line[START, 0], line[CODE, 0], line[LABEL, 0] = -1, -1, -1
    n = 1
    x = 0
    while x < nx:
        code = codes[x]
        line[START, n], line[CODE, n], line[LABEL, n] = x, code, -1
        n += 1
        x += 1
        while x < nx and codes[x] == code:
            x += 1
    line[START, n], line[CODE, n], line[LABEL, n] = nx, -1, -1
    line[START, n + 1] = nx + 1
    return n + 1


@compiled(boundscheck=False)
def label_runs(
    nx: int,
    before: _I32,
    line: _I32,
    n: int,
    wanted: npt.NDArray[np.bool_],
    full: bool,
    labels: int,
    parent: _I32,
    regions: _I32,
    code_of: _I32,
    pixels: _I64,
    sizes: npt.NDArray[np.float64],
    upper: npt.NDArray[np.float64],
    lower: npt.NDArray[np.float64],
    part: float,
    scale: float,
    code_pixels: _I64,
) -> int:
    """Gives the runs of a line their labels; the labels in use afterwards."""
    k = 0
    for j in range(1, n - 1):
        start, end, code = line[START, j], line[START, j + 1], line[CODE, j]
        code_pixels[code] += end - start
        if not wanted[code]:
            continue
        while before[START, k + 1] < start:
            k += 1
        label = -1
        corner_a, corner_b = -1, -1
        i = k
        while before[START, i] <= end:
            if before[CODE, i] == code:
                if before[START, i] < end and before[START, i + 1] > start:
                    other = before[LABEL, i]
                    label = find(parent, other) if label < 0 else unite(parent, label, other)
                elif before[START, i + 1] == start:
                    corner_a = before[LABEL, i]
                else:
                    corner_b = before[LABEL, i]
            if before[START, i + 1] > nx:
                break
            i += 1
        if label < 0:
            label = labels
            labels += 1
            parent[label] = label
            regions[label] = label
            code_of[label] = code
            pixels[label] = 0
            sizes[label] = 0.0
        line[LABEL, j] = label
        pixels[label] += end - start
        high, low = upper[end] - upper[start], lower[end] - lower[start]
        sizes[label] += scale * (high + (low - high) * part)
        if full and corner_a >= 0:
            unite(regions, label, corner_a)
        if full and corner_b >= 0:
            unite(regions, label, corner_b)
    return labels


@compiled(boundscheck=False)
def meet_ends(before: _I32, held: int, line: _I32, n: int, full: bool, regions: _I32) -> None:
    """Joins regions that touch across the seam of a mask that goes round."""
    a, b = 1, n - 2
    if line[CODE, a] == line[CODE, b] and line[LABEL, a] >= 0:
        unite(regions, line[LABEL, a], line[LABEL, b])
    if full and held > 2:
        if line[CODE, a] == before[CODE, held - 2] and line[LABEL, a] >= 0:
            unite(regions, line[LABEL, a], before[LABEL, held - 2])
        if line[CODE, b] == before[CODE, 1] and line[LABEL, b] >= 0:
            unite(regions, line[LABEL, b], before[LABEL, 1])
