"""Compiled blending: probabilities of a tile go into integer sums, sums become codes.

Every kernel releases the GIL. Volumes are addressed as ``(z, y, x)``; images have z = 1.
Loops run over one row of one class at a time in plain float32 arithmetic, which compilers
turn into vector instructions without changing a bit; ``math.exp`` would stay scalar.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from tasks.compiled import compiled

#: What is known of a pixel besides its sums; the larger one wins where tiles disagree.
PREDICTED, FAILED, UNOBSERVED, NODATA = 0, 1, 2, 3

Float = npt.NDArray[np.float32]
Bits = npt.NDArray[np.int32]


@numba.njit(inline="always")
def _exp_parts(x: np.float32) -> tuple[np.float32, np.int32]:
    """``exp(x)`` for x ≤ 0 as mantissa and exponent bits (Cephes' expf: range reduction, degree 6)."""
    x = max(x, np.float32(-87.0))
    n = np.float32(math.floor(x * np.float32(1.44269504) + np.float32(0.5)))
    f = x - n * np.float32(0.693359375)
    f = f + n * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * f + np.float32(1.3981999507e-3)
    p = p * f + np.float32(8.3334519073e-3)
    p = p * f + np.float32(4.1665795894e-2)
    p = p * f + np.float32(1.6666665459e-1)
    p = p * f + np.float32(5.0000001201e-1)
    p = p * f * f + f + np.float32(1.0)
    return p, np.int32(n + np.float32(127.0)) << np.int32(23)


@compiled(boundscheck=False, error_model="numpy")
def _exp_row(values: Float, top: Float, mantissa: Float, bits: Bits, power: Float, total: Float) -> None:
    """``values = exp(values - top)``, added to ``total``; ``power`` views ``bits`` as float32."""
    for x in range(values.shape[0]):
        mantissa[x], bits[x] = _exp_parts(values[x] - top[x])
    for x in range(values.shape[0]):
        values[x] = mantissa[x] * power[x]
        total[x] += values[x]


@compiled(boundscheck=False)
def _load_row(logits: Float, by_class: Float, top: Float) -> None:
    """Turns ``(x · classes)`` to ``(classes, x)`` and finds the largest of each pixel.

    The commonest numbers of classes are spelt out: a stride known beforehand makes vector loads.
    """
    nc, nx = by_class.shape
    if nc == 3:
        first, second, third = by_class[0], by_class[1], by_class[2]
        for x in range(nx):
            first[x], second[x], third[x] = logits[3 * x], logits[3 * x + 1], logits[3 * x + 2]
            top[x] = max(max(first[x], second[x]), third[x])
        return
    if nc == 4:
        first, second, third, fourth = by_class[0], by_class[1], by_class[2], by_class[3]
        for x in range(nx):
            first[x], second[x] = logits[4 * x], logits[4 * x + 1]
            third[x], fourth[x] = logits[4 * x + 2], logits[4 * x + 3]
            top[x] = max(max(first[x], second[x]), max(third[x], fourth[x]))
        return
    for x in range(nx):
        by_class[0, x] = logits[x * nc]
        top[x] = logits[x * nc]
    for c in range(1, nc):
        plane = by_class[c]
        for x in range(nx):
            plane[x] = logits[x * nc + c]
            top[x] = max(top[x], plane[x])


@compiled(boundscheck=False, error_model="numpy")
def _reciprocal_row(total: Float, scale: np.float32) -> None:
    for x in range(total.shape[0]):
        total[x] = scale / total[x]


@compiled(boundscheck=False)
def _add_row(values: Float, factor: Float, weights: npt.NDArray[np.uint32], sums: npt.NDArray[Any]) -> None:
    for x in range(values.shape[0]):
        q = np.int32(values[x] * factor[x] + np.float32(0.5))
        sums[x] += np.uint32(q) * weights[x]


@compiled(boundscheck=False)
def add_softmax(
    logits: Float,
    weights: npt.NDArray[np.uint32],
    sums: npt.NDArray[Any],
    scale: int,
    shape: tuple[int, int, int],
    tile: tuple[int, int, int],
    box: tuple[int, int, int],
    plane: int,
) -> None:
    """Adds ``round(P * softmax) * weight`` to ``sums``.

    Arrays come flat and contiguous, with places counted in pixels: what is known to be contiguous
    becomes vector instructions, and a view of a part is not.

    Args:
        logits: ``(pixels of the tile · classes)``.
        weights: ``(pixels of the tile)``.
        sums: ``(classes · plane)``, uint32 or uint64.
        scale: P.
        shape: Pixels ``(z, y, x)`` to add.
        tile: First of them in the tile, and the tile's steps along z and y.
        box: The same in a plane of the sums.
        plane: Pixels of a plane.
    """
    nz, ny, nx = shape
    nc = sums.shape[0] // plane
    by_class = np.empty((nc, nx), np.float32)
    top, total, mantissa = np.empty(nx, np.float32), np.empty(nx, np.float32), np.empty(nx, np.float32)
    bits = np.empty(nx, np.int32)
    power = bits.view(np.float32)
    for z in range(nz):
        for y in range(ny):
            at = tile[0] + z * tile[1] + y * tile[2]
            to = box[0] + z * box[1] + y * box[2]
            _load_row(logits[at * nc : (at + nx) * nc], by_class, top)
            total[:] = 0
            for c in range(nc):
                _exp_row(by_class[c], top, mantissa, bits, power, total)
            _reciprocal_row(total, np.float32(scale))
            for c in range(nc):
                first = c * plane + to
                _add_row(by_class[c], total, weights[at : at + nx], sums[first : first + nx])


@compiled(boundscheck=False, error_model="numpy")
def _add_difference_row(
    difference: Float,
    mantissa: Float,
    bits: Bits,
    power: Float,
    weights: npt.NDArray[np.uint32],
    sums: npt.NDArray[Any],
    scale: np.float32,
) -> None:
    one, half = np.float32(1.0), np.float32(0.5)
    for x in range(difference.shape[0]):
        mantissa[x], bits[x] = _exp_parts(-abs(difference[x]))
    for x in range(difference.shape[0]):
        e = mantissa[x] * power[x]
        # Rounds away from zero on both sides, so that swapping the classes swaps the sign.
        q = np.int32((one - e) / (one + e) * scale + half)
        q = q if difference[x] >= 0 else -q
        sums[x] += q * np.int32(weights[x])


@compiled(boundscheck=False)
def add_difference(
    logits: Float,
    weights: npt.NDArray[np.uint32],
    sums: npt.NDArray[Any],
    scale: int,
    shape: tuple[int, int, int],
    tile: tuple[int, int, int],
    box: tuple[int, int, int],
    plane: int,
) -> None:
    """Two classes: adds ``round(P * (p1 - p0)) * weight`` to one signed sum.

    Args:
        logits: ``(pixels of the tile)`` (sigmoid) or twice as many (softmax).
        weights: ``(pixels of the tile)``.
        sums: ``(plane)``, int32 or int64.
        scale: P.
        shape: See :func:`add_softmax`, as for the rest.
    """
    nz, ny, nx = shape
    nc = logits.shape[0] // weights.shape[0]
    difference, mantissa = np.empty(nx, np.float32), np.empty(nx, np.float32)
    bits = np.empty(nx, np.int32)
    power = bits.view(np.float32)
    for z in range(nz):
        for y in range(ny):
            at = tile[0] + z * tile[1] + y * tile[2]
            to = box[0] + z * box[1] + y * box[2]
            row = logits[at * nc : (at + nx) * nc]
            if nc == 1:
                difference[:] = row
            else:
                for x in range(nx):
                    difference[x] = row[2 * x + 1] - row[2 * x]
            _add_difference_row(
                difference,
                mantissa,
                bits,
                power,
                weights[at : at + nx],
                sums[to : to + nx],
                np.float32(scale),
            )


_PIECE = 1024
"""Pixels finished at a time: the row buffers stay in the first cache."""


@compiled(boundscheck=False, error_model="numpy")
def finish_softmax(
    sums: npt.NDArray[Any],
    status: npt.NDArray[np.uint8],
    class_codes: npt.NDArray[np.uint16],
    status_codes: npt.NDArray[np.uint16],
    codes: npt.NDArray[Any],
    confidence: npt.NDArray[np.uint8],
) -> None:
    """Turns sums ``(classes, n)`` into codes and confidence (0…255), ties to the lowest code."""
    nc, n = sums.shape
    top, total = np.empty(_PIECE, np.uint64), np.empty(_PIECE, np.uint64)
    best = np.empty(_PIECE, np.uint16)
    for start in range(0, n, _PIECE):
        m = min(_PIECE, n - start)
        for i in range(m):
            top[i] = total[i] = np.uint64(sums[0, start + i])
            best[i] = 0
        for c in range(1, nc):
            plane = sums[c, start : start + m]
            for i in range(m):
                value = np.uint64(plane[i])
                total[i] += value
                best[i] = np.uint16(c) if value > top[i] else best[i]
                top[i] = max(value, top[i])
        for i in range(m):
            seen = status[start + i] == PREDICTED
            share = np.float64(top[i]) / np.float64(total[i]) if seen and total[i] else 0.0
            confidence[start + i] = np.uint8(share * 255.0 + 0.5)
            codes[start + i] = class_codes[best[i]] if seen else status_codes[status[start + i]]


@compiled(boundscheck=False, error_model="numpy")
def finish_difference(
    sums: npt.NDArray[Any],
    weights: npt.NDArray[np.uint32],
    scale: int,
    status: npt.NDArray[np.uint8],
    class_codes: npt.NDArray[np.uint16],
    status_codes: npt.NDArray[np.uint16],
    codes: npt.NDArray[Any],
    confidence: npt.NDArray[np.uint8],
) -> None:
    """The same for one signed difference ``(n,)`` and the sum of weights ``(n,)``."""
    negative, positive = class_codes[0], class_codes[1]
    for i in range(sums.shape[0]):
        seen = status[i] == PREDICTED
        size = abs(np.float64(sums[i])) / (np.float64(scale) * np.float64(weights[i]))
        share = 0.5 + 0.5 * min(1.0, size)
        confidence[i] = np.uint8(share * 255.0 + 0.5) if seen else 0
        codes[i] = positive if sums[i] > 0 else negative
    for i in range(sums.shape[0]):
        if status[i] != PREDICTED:
            codes[i] = status_codes[status[i]]
