"""The compiled scan: runs of equal class become provisional labels with running sums.

Lines are scanned in raster order. A line's runs are joined to those of the neighbouring
lines already seen (the line before in the same slice, up to three lines of the slice
before), so only two slices of runs are ever held and nothing depends on how bands are cut.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.compiled import compiled


@compiled()
def _find(parent: npt.NDArray[np.int64], a: int) -> int:
    root = a
    while parent[root] != root:
        root = parent[root]
    while parent[a] != root:
        parent[a], a = root, parent[a]
    return root


@compiled()
def join(parent: npt.NDArray[np.int64], a: int, b: int) -> int:
    """Unites two labels; the smaller one, first in raster order, is the root."""
    a, b = _find(parent, a), _find(parent, b)
    if a > b:
        a, b = b, a
    parent[b] = a
    return a


@compiled()
def _join_lines(
    parent: npt.NDArray[np.int64],
    runs: npt.NDArray[np.int64],
    first: int,
    last: int,
    other: npt.NDArray[np.int64],
    other_first: int,
    other_last: int,
    slack: int,
) -> None:
    """Joins the runs ``[first, last)`` with the runs of another line that touch them.

    Runs are rows ``start, end, code, label``; ``slack`` is 1 where corners connect.
    """
    j = other_first
    for i in range(first, last):
        while j < other_last and other[j, 1] + slack <= runs[i, 0]:
            j += 1
        k = j
        while k < other_last and other[k, 0] < runs[i, 1] + slack:
            if other[k, 2] == runs[i, 2]:
                label = runs[i, 3]
                if label < 0:
                    runs[i, 3] = _find(parent, other[k, 3])
                else:
                    runs[i, 3] = join(parent, label, other[k, 3])
            k += 1


@compiled()
def scan_slice(
    codes: npt.NDArray[Any],
    confidence: npt.NDArray[np.uint8],
    values: npt.NDArray[Any],
    zero: int | float,
    sizes: npt.NDArray[np.float64],
    size_step: float,
    is_region: npt.NDArray[np.bool_],
    full: bool,
    z: int,
    at_border: bool,
    border_x: bool,
    border_y: bool,
    base: int,
    before: npt.NDArray[np.int64],
    before_lines: npt.NDArray[np.int64],
    runs: npt.NDArray[np.int64],
    lines: npt.NDArray[np.int64],
    parent: npt.NDArray[np.int64],
    ints: npt.NDArray[np.int64],
    floats: npt.NDArray[np.float64],
    labels: int,
    code_pixels: npt.NDArray[np.int64],
    code_sizes: npt.NDArray[np.float64],
) -> int:
    """Scans one slice ``(y, x)``.

    Args:
        codes: ``(y, x)``.
        confidence: ``(y, x)``.
        values: ``(y, x, channels)``.
        zero: Of the type in which a run's values are added: an integer for integers, exact and quick.
        sizes: ``(y, nodes)`` true size of a pixel at lattice nodes ``size_step`` pixels apart;
            one node means it is constant along a line.
        is_region: By code.
        full: Whether corners connect.
        z: Position of the slice.
        at_border: The slice lies at the image's border.
        border_x: Ends of lines are borders (false where the image wraps).
        border_y: First and last line are borders.
        base: Raster index of the slice's first pixel.
        before: Runs of the slice before, ``before_lines`` their first run per line.
        runs: Receives this slice's runs, ``lines`` their first run per line.
        parent: Union-find over labels.
        ints: ``(labels, 12)``: code, pixels, first raster index, z0, y0, x0, z1, y1, x1
            (half-open), confidence sum, border flag, spare.
        floats: ``(labels, 4 + channels)``: size, sums of z, y, x, sums of values.
        labels: Labels in use.
        code_pixels: Pixels by code; receives all codes, regions or not.
        code_sizes: True sizes by code.

    Returns:
        Labels in use afterwards.
    """
    ny, nx = codes.shape
    channels = values.shape[2]
    slack = 1 if full else 0
    n = 0
    for y in range(ny):
        lines[y] = n
        first = n
        x = 0
        while x < nx:
            code = codes[y, x]
            start = x
            size = 0.0
            if sizes.shape[1] == 1:
                while x < nx and codes[y, x] == code:
                    x += 1
                size = sizes[y, 0] * (x - start)
            else:
                while x < nx and codes[y, x] == code:
                    node = x / size_step
                    k = min(int(node), sizes.shape[1] - 2)
                    f = node - k
                    size += sizes[y, k] * (1.0 - f) + sizes[y, k + 1] * f
                    x += 1
            code_pixels[code] += x - start
            code_sizes[code] += size
            if is_region[code]:
                runs[n, 0], runs[n, 1], runs[n, 2], runs[n, 3] = start, x, code, -1
                n += 1
        lines[y + 1] = n
        if y > 0:
            _join_lines(parent, runs, first, n, runs, lines[y - 1], first, slack)
        for q in range(max(0, y - slack), min(ny, y + slack + 1)):
            _join_lines(parent, runs, first, n, before, before_lines[q], before_lines[q + 1], slack)
        for i in range(first, n):
            start, end, label = runs[i, 0], runs[i, 1], runs[i, 3]
            if label < 0:
                label = labels
                labels += 1
                runs[i, 3] = label
                parent[label] = label
                ints[label, 0] = runs[i, 2]
                ints[label, 2] = base + y * nx + start
                ints[label, 3], ints[label, 4], ints[label, 5] = z, y, start
            length = end - start
            row, real = ints[label], floats[label]
            row[1] += length
            row[3], row[6] = min(row[3], z), max(row[6], z + 1)
            row[4], row[7] = min(row[4], y), max(row[7], y + 1)
            row[5], row[8] = min(row[5], start), max(row[8], end)
            if (
                at_border
                or (border_y and (y == 0 or y == ny - 1))
                or (border_x and (start == 0 or end == nx))
            ):
                row[10] = 1
            real[1] += z * length
            real[2] += y * length
            real[3] += 0.5 * (start + end - 1) * length
            if sizes.shape[1] == 1:
                real[0] += sizes[y, 0] * length
            total = np.int64(0)
            for p in range(start, end):
                total += confidence[y, p]
            if sizes.shape[1] > 1:
                size = 0.0
                for p in range(start, end):
                    node = p / size_step
                    k = min(int(node), sizes.shape[1] - 2)
                    f = node - k
                    size += sizes[y, k] * (1.0 - f) + sizes[y, k + 1] * f
                real[0] += size
            for c in range(channels):
                value = zero
                for p in range(start, end):
                    value += values[y, p, c]
                real[4 + c] += value
            row[9] += total
    return labels
