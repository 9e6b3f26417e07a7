"""Compiled blending: probabilities of a tile go into integer sums, sums become codes.

Every kernel releases the GIL. Volumes are addressed as ``(z, y, x)``; images have z = 1.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

#: What is known of a pixel besides its sums; the larger one wins where tiles disagree.
PREDICTED, FAILED, UNOBSERVED, NODATA = 0, 1, 2, 3


@numba.njit(nogil=True, cache=True, boundscheck=False)
def add_softmax(
    logits: npt.NDArray[np.float32],
    weights: npt.NDArray[np.uint32],
    sums: npt.NDArray[Any],
    scale: int,
) -> None:
    """Adds ``round(P * softmax) * weight`` to ``sums``.

    Args:
        logits: ``(z, y, x, classes)``.
        weights: ``(z, y, x)``.
        sums: ``(classes, z, y, x)``, uint32 or uint64; the part the tile touches.
        scale: P.
    """
    nz, ny, nx, nc = logits.shape
    exps = np.empty(nc, np.float32)
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                top = logits[z, y, x, 0]
                for c in range(1, nc):
                    top = max(top, logits[z, y, x, c])
                total = np.float32(0.0)
                for c in range(nc):
                    e = np.float32(math.exp(logits[z, y, x, c] - top))
                    exps[c] = e
                    total += e
                factor = np.float32(scale) / total
                w = np.int64(weights[z, y, x])
                for c in range(nc):
                    q = np.int64(exps[c] * factor + np.float32(0.5))
                    sums[c, z, y, x] += sums.dtype.type(q * w)


@numba.njit(nogil=True, cache=True, boundscheck=False)
def add_difference(
    logits: npt.NDArray[np.float32],
    weights: npt.NDArray[np.uint32],
    sums: npt.NDArray[Any],
    scale: int,
) -> None:
    """Two classes: adds ``round(P * (p1 - p0)) * weight`` to one signed sum.

    Args:
        logits: ``(z, y, x, 1)`` (sigmoid) or ``(z, y, x, 2)`` (softmax).
        weights: ``(z, y, x)``.
        sums: ``(1, z, y, x)``, int32 or int64.
        scale: P.
    """
    nz, ny, nx, nc = logits.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                d = logits[z, y, x, 0] if nc == 1 else logits[z, y, x, 1] - logits[z, y, x, 0]
                t = math.tanh(np.float32(0.5) * d) * np.float32(scale)
                # Rounds away from zero on both sides, so that swapping the classes swaps the sign.
                q = np.int64(math.floor(t + 0.5)) if t >= 0 else -np.int64(math.floor(0.5 - t))
                sums[0, z, y, x] += sums.dtype.type(q * np.int64(weights[z, y, x]))


@numba.njit(nogil=True, cache=True, boundscheck=False)
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
    for i in range(n):
        if status[i] != PREDICTED:
            codes[i] = status_codes[status[i]]
            confidence[i] = 0
            continue
        best = 0
        total = np.uint64(sums[0, i])
        for c in range(1, nc):
            total += np.uint64(sums[c, i])
            if sums[c, i] > sums[best, i]:
                best = c
        codes[i] = class_codes[best]
        share = np.float64(sums[best, i]) / np.float64(total)
        confidence[i] = np.uint8(share * 255.0 + 0.5)


@numba.njit(nogil=True, cache=True, boundscheck=False)
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
    for i in range(sums.shape[0]):
        if status[i] != PREDICTED:
            codes[i] = status_codes[status[i]]
            confidence[i] = 0
            continue
        d = np.int64(sums[i])
        codes[i] = class_codes[1 if d > 0 else 0]
        share = 0.5 + 0.5 * abs(d) / (np.float64(scale) * np.float64(weights[i]))
        confidence[i] = np.uint8(min(1.0, share) * 255.0 + 0.5)
