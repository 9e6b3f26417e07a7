"""Blending weights, and the integers in which they are added.

Weights and probabilities are quantised separately (weight ``max(1, round(w * W))``,
probability ``round(p * P)``): sums of integers do not depend on the order in which tiles
arrive, and no tile is without a vote anywhere it covers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from tasks.tiling.grid import Axis, Index, TileGrid

Blend = Literal["gaussian", "hann", "constant", "crop"]
WEIGHT_SCALE = 1 << 12
PROBABILITY_SCALES = tuple(1 << b for b in range(16, 11, -1))


def profile(axis: Axis, k: int, blend: Blend) -> npt.NDArray[np.float64]:
    """Weight of tile ``k`` along one axis, ``(tile,)``, at most 1.

    ``gaussian`` has a sigma of an eighth of the tile (as nnU-Net), ``crop`` gives every
    pixel to the one tile whose centre part holds it.
    """
    n = axis.tile
    x = np.arange(n, dtype=np.float64) - (n - 1) / 2
    if blend == "constant" or n == 1:
        return np.ones(n)
    if blend == "gaussian":
        return np.exp(-0.5 * (x / (n / 8)) ** 2)
    if blend == "hann":
        return np.cos(np.pi * x / (n + 1)) ** 2
    half = (n - axis.step) // 2
    ones = np.ones(n)
    if k > 0:
        ones[:half] = 0
    if k < axis.count - 1:
        ones[axis.step + half :] = 0
    return ones


def _edge_class(axis: Axis, k: int, blend: Blend) -> int:
    """Tiles of one class have the same profile: only ``crop`` treats the ends differently."""
    if blend != "crop":
        return 0
    return (1 if k == 0 else 0) + (2 if k == axis.count - 1 else 0)


@lru_cache(maxsize=64)
def _weights(axes: tuple[Axis, ...], tiles: Index, blend: Blend) -> npt.NDArray[np.uint32]:
    w = np.ones((1,) * len(axes))
    for d, (axis, k) in enumerate(zip(axes, tiles, strict=True)):
        w = w * profile(axis, k, blend).reshape([-1 if i == d else 1 for i in range(len(axes))])
    out = np.rint(w * WEIGHT_SCALE).astype(np.uint32)
    if blend != "crop":
        np.maximum(out, 1, out=out)
    out.flags.writeable = False
    return out


def tile_weights(grid: TileGrid, tile: Index, blend: Blend) -> npt.NDArray[np.uint32]:
    """Quantised weights of one tile, ``(*tile)``, read-only and cached."""
    classes = tuple(_edge_class(a, k, blend) for a, k in zip(grid.axes, tile, strict=True))
    # A representative tile of the class keeps the cache small on huge grids.
    representative = tuple(
        {0: min(1, a.count - 1) if blend == "crop" else 0, 1: 0, 2: a.count - 1, 3: 0}[c]
        for a, c in zip(grid.axes, classes, strict=True)
    )
    return _weights(grid.axes, representative, blend)


def overlaps(
    grid: TileGrid, low: Index, high: Index
) -> Iterator[tuple[Index, tuple[slice, ...], tuple[slice, ...]]]:
    """Tiles touching a box, with the shared part in box and in tile coordinates."""
    for tile in grid.tiles_touching(low, high):
        in_box, in_tile = [], []
        for axis, k, a, h in zip(grid.axes, tile, low, high, strict=True):
            p, q = axis.inside(k)
            p, q = max(p, a), min(q, h)
            in_box.append(slice(p - a, q - a))
            in_tile.append(slice(p - axis.start(k), q - axis.start(k)))
        yield tile, tuple(in_box), tuple(in_tile)


def weight_sum(grid: TileGrid, blend: Blend, low: Index, high: Index) -> npt.NDArray[np.uint32]:
    """Sum of the weights of all tiles over a box, computed from geometry alone."""
    total = np.zeros([h - a for a, h in zip(low, high, strict=True)], np.uint32)
    for tile, in_box, in_tile in overlaps(grid, low, high):
        total[in_box] += tile_weights(grid, tile, blend)[in_tile]
    return total


@dataclass(frozen=True)
class Quantisation:
    """The integers of the blend.

    Attributes:
        probability_scale: P, at least 2¹².
        planes: Accumulators per pixel: one signed difference for two classes, else one a class.
        dtype: Accumulator type, wide enough that no sum can overflow.
    """

    probability_scale: int
    planes: int
    dtype: Literal["int32", "int64", "uint32", "uint64"]


def choose_quantisation(grid: TileGrid, blend: Blend, *, classes: int) -> Quantisation:
    """Largest P whose products with the largest true sum of weights fit 32 bits, else 64 bits."""
    peak = _peak_weight_sum(grid, blend)
    signed = classes == 2
    limit = 1 << (31 if signed else 32)
    planes = 1 if signed else classes
    for p in PROBABILITY_SCALES:
        if p * peak < limit:
            return Quantisation(p, planes, "int32" if signed else "uint32")
    return Quantisation(PROBABILITY_SCALES[0], planes, "int64" if signed else "uint64")


def _peak_weight_sum(grid: TileGrid, blend: Blend) -> int:
    """The largest sum of weights anywhere: folds one tile onto its own step, every tile included."""
    if blend == "crop":
        return WEIGHT_SCALE
    w = _weights(grid.axes, (0,) * len(grid.axes), blend).astype(np.uint64)
    for d, axis in enumerate(grid.axes):
        if axis.count == 1:
            continue
        n = -(-axis.tile // axis.step)
        pad = [(0, n * axis.step - axis.tile if i == d else 0) for i in range(w.ndim)]
        w = np.pad(w, pad)
        w = w.reshape(*w.shape[:d], n, axis.step, *w.shape[d + 1 :]).sum(axis=d)
    return int(w.max())
