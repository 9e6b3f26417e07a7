"""What a block knows of its seams: pairs of its own tiles counted, strips that face other blocks kept."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tasks.blocks.blockfile import BlockFile
from tasks.tiling.grid import Index, TileGrid
from tasks.tiling.kernels import NODATA, PREDICTED
from tasks.tiling.seams import (
    NOTHING,
    PairCount,
    Span,
    Tally,
    following,
    lattice_of,
    quantise,
    span_size,
    tally,
)

Side = Literal["low", "high"]
_TALLIES = "seams"


class BlockSeams:
    """Samples the tiles of one block as they are predicted; for use by one thread at a time.

    Args:
        grid: Tiles and blocks.
        index: The block.
        planes: 1 for two classes, else their number.
    """

    def __init__(self, grid: TileGrid, index: Index, *, planes: int) -> None:
        self._grid = grid
        self._index = index
        self._planes = planes
        self._lattice = lattice_of(grid)
        self._samples: dict[Index, _Samples] = {}

    def add(self, tile: Index, logits: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]) -> None:
        """Takes the samples of a predicted tile.

        Args:
            tile: One of the block's tiles.
            logits: ``(*tile, logits)`` over all axes of the grid.
            valid: ``(*tile)``: where it was measured.
        """
        if not self._lattice.axes:
            return
        start = tuple(a.start(k) for a, k in zip(self._grid.axes, tile, strict=True))
        span = self._lattice.span(tile)
        picked = logits[self._lattice.pixels(span, start)]
        known = np.where(valid[self._lattice.pixels(span, start)], PREDICTED, NODATA).astype(np.uint8)
        out = np.empty((self._planes, *known.shape), np.uint16)
        volume = (1, 1, *known.shape)[-3:]
        quantise(
            picked.reshape(*volume, logits.shape[-1]),
            known.reshape(volume),
            out.reshape(self._planes, *volume),
        )
        self._samples[tile] = _Samples(tuple(first for first, _ in span), out)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What the block's file keeps: tallies of its own pairs, and strips for its neighbours."""
        out: dict[str, npt.NDArray[Any]] = {}
        tallies = []
        for axis in self._lattice.axes:
            tallies.append(self._own(axis))
            block, count = self._index[axis], self._grid.block_counts[axis]
            if block > 0:
                out[strip_name(axis, "low")] = self._face(axis, "low")
            if block < count - 1:
                out[strip_name(axis, "high")] = self._face(axis, "high")
        if tallies:
            out[_TALLIES] = np.array([_pack(t, len(self._grid.axes)) for t in tallies], np.int64)
        return {name: a for name, a in out.items() if a.size}

    def _own(self, axis: int) -> Tally:
        total = Tally()
        for tile, samples in self._samples.items():
            other = self._samples.get(following(tile, axis))
            if other is not None:
                shared = self._lattice.pair_span(tile, axis)
                total += tally(tile, samples.strip(shared), other.strip(shared))
        return total

    def _face(self, axis: int, side: Side) -> npt.NDArray[np.uint16]:
        strips = []
        for pair in facing_pairs(self._grid, self._index, axis, side):
            shared = self._lattice.pair_span(pair[0], axis)
            samples = self._samples.get(pair[0 if side == "high" else 1])
            if samples is None:
                strips.append(np.full((self._planes, span_size(shared)), NOTHING, np.uint16))
            else:
                strips.append(samples.strip(shared))
        return np.concatenate(strips, axis=1)


@dataclass(frozen=True)
class _Samples:
    """Quantised probabilities ``(planes, *lattice)`` of a tile whose first lattice point is ``low``."""

    low: Index
    values: npt.NDArray[np.uint16]

    def strip(self, shared: Span) -> npt.NDArray[np.uint16]:
        """Those in a part of the lattice, ``(planes, n)``."""
        at = [slice(a - o, max(a, b) - o) for (a, b), o in zip(shared, self.low, strict=True)]
        return np.ascontiguousarray(self.values[(slice(None), *at)]).reshape(len(self.values), -1)


def strip_name(axis: int, side: Side) -> str:
    """Name of the array with the strips on one side of a block."""
    return f"seams-{side}-{axis}"


def facing_pairs(grid: TileGrid, index: Index, axis: int, side: Side) -> Iterator[tuple[Index, Index]]:
    """Pairs of a block's tiles with those of the next (``high``) or last (``low``) block, in raster order."""
    owned = [b.owned(i) for b, i in zip(grid.block_axes, index, strict=True)]
    first = owned[axis][-1] if side == "high" else owned[axis][0] - 1
    owned[axis] = range(first, first + 1)
    for tile in itertools.product(*owned):
        yield tile, following(tile, axis)


def _pack(t: Tally, ndim: int) -> list[int]:
    w = t.worst or PairCount((-1,) * ndim, 0, 0, 0)
    return [t.pairs, t.pixels, t.other_class, t.difference, w.pixels, w.other_class, w.difference, *w.tile]


def read_tallies(file: BlockFile, axes: int) -> list[Tally]:
    """Tallies of a block's own pairs, one per compared axis."""
    packed = file.attached(_TALLIES)
    if packed is None:
        return [Tally()] * axes
    out = []
    for pairs, pixels, other_class, difference, *worst in packed.tolist():
        pair = PairCount(tuple(worst[3:]), worst[0], worst[1], worst[2]) if pairs else None
        out.append(Tally(pairs, pixels, other_class, difference, pair))
    return out
