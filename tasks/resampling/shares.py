"""Compiled: complete sums become probabilities in 16 bits, and those of a lattice classes of an image's pixels.

What is 0 bits wide of rounding stays so: probabilities are whole numbers, shares of neighbours are whole numbers of
1/4096, and every product and sum of them is a whole number that float64 holds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.compiled import compiled
from tasks.resampling.lattice import SHARES
from tasks.tiling.kernels import FAILED, NODATA, PREDICTED

#: Probability 1, and the difference of two classes' probabilities where one is certain.
CERTAIN, CERTAIN_DIFFERENCE = 65535, 32767

_PIECE = 1024

Places = npt.NDArray[np.int64]
Rows = npt.NDArray[np.float64]


@compiled(boundscheck=False, error_model="numpy")
def share_softmax(sums: npt.NDArray[Any], status: npt.NDArray[np.uint8], out: npt.NDArray[np.uint16]) -> None:
    """Probabilities ``(classes, n)`` of complete sums ``(classes, n)``; 0 where nothing was predicted."""
    nc, n = sums.shape
    factor = np.empty(_PIECE, np.float64)
    for start in range(0, n, _PIECE):
        m = min(_PIECE, n - start)
        factor[:m] = 0.0
        for c in range(nc):
            for i in range(m):
                factor[i] += np.float64(sums[c, start + i])
        for i in range(m):
            some = status[start + i] == PREDICTED and factor[i] > 0
            factor[i] = np.float64(CERTAIN) / factor[i] if some else 0.0
        for c in range(nc):
            for i in range(m):
                out[c, start + i] = np.uint16(np.float64(sums[c, start + i]) * factor[i] + 0.5)


@compiled(boundscheck=False, error_model="numpy")
def share_difference(
    sums: npt.NDArray[Any],
    weights: npt.NDArray[np.uint32],
    scale: int,
    status: npt.NDArray[np.uint8],
    out: npt.NDArray[np.int16],
) -> None:
    """The same for one signed difference ``(n,)`` and the sum of weights ``(n,)``."""
    for i in range(sums.shape[0]):
        size = min(1.0, abs(np.float64(sums[i])) / (np.float64(scale) * np.float64(weights[i])))
        q = np.int16(size * CERTAIN_DIFFERENCE + 0.5) if status[i] == PREDICTED else np.int16(0)
        out[i] = q if sums[i] >= 0 else -q


@compiled(boundscheck=False)
def _mix(
    rows: tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]],
    parts: tuple[float, float, float, float],
    out: Rows,
) -> bool:
    """Four neighbouring rows by their shares; whether anything is left."""
    first, second, third, fourth = rows
    a, b, c, d = parts
    some = False
    if b == 0 and c == 0 and d == 0:
        for x in range(out.shape[0]):
            out[x] = a * first[x]
            some |= first[x] != 0
        return some
    for x in range(out.shape[0]):
        out[x] = a * first[x] + b * second[x] + c * third[x] + d * fourth[x]
        some |= out[x] != 0
    return some


@compiled(boundscheck=False)
def _look(
    status: npt.NDArray[np.uint8],
    z: tuple[int, int],
    y: tuple[int, int],
    parts: tuple[float, float, float, float],
    known: Rows,
    failed: npt.NDArray[np.bool_],
) -> None:
    """Shares of four neighbouring rows that were predicted, and where any that counts failed."""
    known[:] = 0
    failed[:] = False
    for i in range(4):
        if parts[i] == 0:
            continue
        row = status[z[i // 2], y[i % 2]]
        for x in range(known.shape[0]):
            known[x] += parts[i] if row[x] == PREDICTED else 0.0
            failed[x] |= row[x] == FAILED


@compiled(boundscheck=False, error_model="numpy")
def classify(
    planes: npt.NDArray[Any],
    status: npt.NDArray[np.uint8],
    z: tuple[Places, Places],
    y: tuple[Places, Places],
    x: tuple[Places, Places],
    own: npt.NDArray[np.uint8],
    class_codes: npt.NDArray[np.uint16],
    status_codes: npt.NDArray[np.uint16],
    codes: npt.NDArray[Any],
    confidence: npt.NDArray[np.uint8],
) -> None:
    """Classes of an image's pixels from the probabilities of the lattice's around them, ties to the lowest code.

    A pixel is *failed* if any neighbour that counts is; neighbours without data have no part. One that no predicted
    neighbour is left of has no class.

    Args:
        planes: ``(classes, z, y, x)`` by :func:`share_softmax`, or ``(1, z, y, x)`` by :func:`share_difference`.
        status: ``(z, y, x)`` of the lattice.
        z, y, x: Per pixel of the image along an axis, the neighbour before and the share of the one after.
        own: Status ``(pixels z, y, x)`` of the image's pixels; all but predicted ones keep it.
        class_codes: Ascending.
        status_codes: By status.
        codes: ``(pixels z, y, x)``, written.
        confidence: The same, 255 = certain.
    """
    nc, width = planes.shape[0], planes.shape[3]
    nz, ny, nx = own.shape
    row, known = np.empty(width, np.float64), np.empty(width, np.float64)
    failed = np.empty(width, np.bool_)
    top, best = np.empty(nx, np.float64), np.empty(nx, np.int64)
    after = np.empty(nx, np.int64)
    for i in range(nx):
        after[i] = x[0][i] + (1 if x[1][i] else 0)
    for k in range(nz):
        z0, zs = z[0][k], z[1][k]
        z1 = z0 + (1 if zs else 0)
        for j in range(ny):
            y0, ys = y[0][j], y[1][j]
            y1 = y0 + (1 if ys else 0)
            parts = (
                np.float64((SHARES - zs) * (SHARES - ys)),
                np.float64((SHARES - zs) * ys),
                np.float64(zs * (SHARES - ys)),
                np.float64(zs * ys),
            )
            _look(status, (z0, z1), (y0, y1), parts, known, failed)
            top[:] = 0.0
            best[:] = 0
            for c in range(nc):
                plane = planes[c]
                rows = (plane[z0, y0], plane[z0, y1], plane[z1, y0], plane[z1, y1])
                # What is 0 all along cannot be more than the classes before it.
                if not _mix(rows, parts, row):
                    continue
                for i in range(nx):
                    late = np.float64(x[1][i])
                    value = row[x[0][i]] * (SHARES - late) + row[after[i]] * late
                    if value > top[i] or nc == 1:
                        top[i] = value
                        best[i] = c
            for i in range(nx):
                if own[k, j, i] != PREDICTED:
                    codes[k, j, i] = status_codes[own[k, j, i]]
                    confidence[k, j, i] = 0
                    continue
                late = np.float64(x[1][i])
                weight = known[x[0][i]] * (SHARES - late) + known[after[i]] * late
                if failed[x[0][i]] or failed[after[i]] or weight == 0:
                    bad = failed[x[0][i]] or failed[after[i]]
                    codes[k, j, i] = status_codes[FAILED] if bad else status_codes[NODATA]
                    confidence[k, j, i] = 0
                elif nc == 1:
                    share = abs(top[i]) / (CERTAIN_DIFFERENCE * weight)
                    confidence[k, j, i] = np.uint8((0.5 + 0.5 * min(1.0, share)) * 255.0 + 0.5)
                    codes[k, j, i] = class_codes[1] if top[i] > 0 else class_codes[0]
                else:
                    share = top[i] / (CERTAIN * weight)
                    confidence[k, j, i] = np.uint8(min(1.0, share) * 255.0 + 0.5)
                    codes[k, j, i] = class_codes[best[i]]
