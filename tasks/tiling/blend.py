"""Accumulators of a box: tiles are added, parts of the box are taken out or finished."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.codes import Codes
from tasks.tiling import kernels
from tasks.tiling.grid import Index, TileGrid
from tasks.tiling.weights import Blend, Quantisation, tile_weights, weight_sum


def add_tile(
    sums: npt.NDArray[Any],
    low: Index,
    *,
    logits: npt.NDArray[np.float32],
    grid: TileGrid,
    tile: Index,
    blend: Blend,
    quantisation: Quantisation,
) -> None:
    """Adds one tile's logits to the sums of a box; what lies outside the box is left out.

    Args:
        sums: ``(planes, *box)``.
        low: First pixel of the box per axis.
        logits: ``(*tile, logits)``.
    """
    high = tuple(a + n for a, n in zip(low, sums.shape[1:], strict=True))
    in_box, in_tile = grid.shared(tile, low, high)
    shape = [s.stop - s.start for s in in_tile]
    if not all(shape):
        return
    add = kernels.add_difference if quantisation.planes == 1 else kernels.add_softmax
    add(
        np.ascontiguousarray(logits).reshape(-1),
        tile_weights(grid, tile, blend).reshape(-1),
        sums.reshape(-1),
        quantisation.probability_scale,
        tuple([1, 1, *shape][-3:]),
        _place(in_tile, grid.tile),
        _place(in_box, sums.shape[1:]),
        math.prod(sums.shape[1:]),
    )


def _place(part: tuple[slice, ...], shape: Index) -> tuple[int, int, int]:
    """Where a part of an array begins, and the array's steps along z and y, in pixels.

    Axes before the last three hold one entry of the part.
    """
    steps = [math.prod(shape[d + 1 :]) for d in range(len(shape))]
    first = sum(p.start * s for p, s in zip(part, steps, strict=True))
    along = [0, 0, *steps][-3:]
    return first, along[0], along[1]


def finish(
    sums: npt.NDArray[Any],
    status: npt.NDArray[np.uint8],
    low: Index,
    *,
    grid: TileGrid,
    blend: Blend,
    quantisation: Quantisation,
    codes: Codes,
) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
    """Codes and confidence of a box whose sums are complete.

    Args:
        sums: ``(planes, *box)``.
        status: ``(*box)``, see ``kernels.PREDICTED``.
        low: First pixel of the box per axis.

    Returns:
        Codes ``(*box)`` and confidence ``(*box)`` uint8, 255 = certain.
    """
    shape = status.shape
    out = np.empty(status.size, codes.dtype)
    confidence = np.empty(status.size, np.uint8)
    flat = np.ascontiguousarray(sums).reshape(sums.shape[0], -1)
    flat_status = np.ascontiguousarray(status).reshape(-1)
    class_codes = np.array(codes.classes, np.uint16)
    if quantisation.planes == 1:
        high = tuple(a + n for a, n in zip(low, shape, strict=True))
        weights = weight_sum(grid, blend, low, high).reshape(-1)
        kernels.finish_difference(
            flat[0],
            weights,
            quantisation.probability_scale,
            flat_status,
            class_codes,
            codes.of_status(),
            out,
            confidence,
        )
    else:
        kernels.finish_softmax(flat, flat_status, class_codes, codes.of_status(), out, confidence)
    return out.reshape(shape), confidence.reshape(shape)
