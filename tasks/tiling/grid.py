"""The global tile grid and the blocks over it: one algebra for 2-D, 3-D and 4-D images.

Tile ``k`` of an axis starts at ``k * step - lead``. Starts are multiples of the network's
stride, the last tile is padded and never shifted, so a tile's input depends on the image
alone, never on how the work was cut into blocks. On an axis whose ends are neighbours
(the columns of a global grid) ``lead`` is the overlap: the halo comes from the opposite edge.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

Padding = Literal["reflect", "edge", "zero"]
#: What blocks do about pixels that tiles of several blocks vote on: hand their sums to the stitch
#: (``stored``), compute the neighbours' tiles there too (``recomputed``), or nothing, since a pixel
#: belongs to one tile (``none``, with blending ``crop``).
Borders = Literal["stored", "recomputed", "none"]
Index = tuple[int, ...]


@dataclass(frozen=True)
class Axis:
    """Tiles along one axis.

    Attributes:
        size: Pixels of the image.
        tile: Pixels of a tile.
        step: Distance of tile starts, ``tile - overlap``.
        wraps: Whether the two ends are neighbours.
    """

    size: int
    tile: int
    step: int
    wraps: bool = False

    def __post_init__(self) -> None:
        if self.size < 1 or self.tile < 1 or not 1 <= self.step <= self.tile:
            raise ValueError(f"impossible axis: size {self.size}, tile {self.tile}, step {self.step}")

    @property
    def lead(self) -> int:
        """Pixels by which the first tile reaches before the image."""
        return self.tile - self.step if self.wraps else 0

    @property
    def count(self) -> int:
        """Number of tiles; together they cover the axis (and the halo of a wrapping one)."""
        reach = self.size + 2 * self.lead
        return 1 if reach <= self.tile else -(-(reach - self.tile) // self.step) + 1

    def start(self, k: int) -> int:
        """First pixel of tile ``k``; may lie outside the image."""
        return k * self.step - self.lead

    def inside(self, k: int) -> tuple[int, int]:
        """The part ``[low, high)`` of tile ``k`` that lies in the image."""
        return max(0, self.start(k)), max(0, min(self.size, self.start(k) + self.tile))

    def core(self, k: int) -> tuple[int, int]:
        """The part of the image that belongs to tile ``k`` alone if tiles are cropped; may be empty."""
        half = (self.tile - self.step) // 2
        low = self.start(k) + half if k else 0
        high = self.start(k + 1) + half if k < self.count - 1 else self.size
        return min(self.size, max(0, low)), min(self.size, max(0, high))

    def touching(self, low: int, high: int) -> range:
        """Tiles with a pixel in ``[low, high)``, a part of the image."""
        first = (low + self.lead - self.tile) // self.step + 1
        return range(max(0, first), min(self.count, (high - 1 + self.lead) // self.step + 1))

    def sources(self, k: int, padding: Padding) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Where each pixel of tile ``k`` comes from.

        Returns:
            Image coordinates ``(tile,)`` and whether the value there may be used
            (false only in zero padding).
        """
        x = np.arange(self.start(k), self.start(k) + self.tile, dtype=np.int64)
        usable = np.ones(x.shape, bool)
        if self.wraps:
            return x % self.size, usable
        if padding == "reflect":
            period = max(1, 2 * self.size - 2)
            x = np.abs(x) % period
            return np.where(x >= self.size, period - x, x), usable
        if padding == "zero":
            usable = (x >= 0) & (x < self.size)
        return np.clip(x, 0, self.size - 1), usable


@dataclass(frozen=True)
class BlockAxis:
    """Blocks along one axis: each owns ``tiles`` consecutive tiles (the last may own fewer)."""

    axis: Axis
    tiles: int
    borders: Borders = "stored"

    @property
    def count(self) -> int:
        return -(-self.axis.count // self.tiles)

    def owned(self, b: int) -> range:
        """Tiles of block ``b``."""
        return range(b * self.tiles, min((b + 1) * self.tiles, self.axis.count))

    def computed(self, b: int) -> range:
        """Tiles that block ``b`` runs: its own, and with recomputed borders all that touch its span."""
        if self.borders != "recomputed":
            return self.owned(b)
        low, high = self.span(b)
        return self.axis.touching(low, high) if low < high else range(0)

    def span(self, b: int) -> tuple[int, int]:
        """Pixels ``[low, high)`` that block ``b`` answers for; empty if none.

        With stored borders all that its tiles touch; else spans of blocks do not overlap.
        """
        owned = self.owned(b)
        if self.borders == "none":
            return self.axis.core(owned[0])[0], self.axis.core(owned[-1])[1]
        if self.borders == "stored":
            return self.axis.inside(owned[0])[0], self.axis.inside(owned[-1])[1]
        low = self.axis.start(owned[0]) if b else 0
        high = self.axis.start(owned[-1] + 1) if b < self.count - 1 else self.axis.size
        return min(self.axis.size, max(0, low)), min(self.axis.size, max(0, high))

    def cuts(self) -> tuple[int, ...]:
        """Sorted pixel positions between which the set of covering blocks does not change."""
        return _cuts(self)

    def owners(self, low: int, high: int) -> range:
        """Blocks that touch the segment ``[low, high)`` between two cuts."""
        first = bisect.bisect_right(range(self.count), low, key=lambda b: self.span(b)[1])
        end = bisect.bisect_left(range(self.count), high, key=lambda b: self.span(b)[0])
        return range(first, end)


@lru_cache(maxsize=64)
def _cuts(block_axis: BlockAxis) -> tuple[int, ...]:
    ends = {p for b in range(block_axis.count) for p in block_axis.span(b)}
    return tuple(sorted(ends | {0, block_axis.axis.size}))


@dataclass(frozen=True)
class Cell:
    """A box in which every pixel is touched by the same blocks.

    Attributes:
        low: First pixel per axis.
        high: End per axis.
        owners: Block indices that touch it; one owner means that block can finish it.
    """

    low: Index
    high: Index
    owners: tuple[Index, ...]

    @property
    def shape(self) -> Index:
        return tuple(h - a for a, h in zip(self.low, self.high, strict=True))


@dataclass(frozen=True)
class TileGrid:
    """Tiles and blocks of an image, slowest axis first.

    Attributes:
        axes: One per image axis; axes that the model does not see have tile 1.
        block: Tiles per block and axis.
        borders: What blocks do about pixels that tiles of several blocks vote on.
    """

    axes: tuple[Axis, ...]
    block: Index
    borders: Borders = "stored"

    @property
    def shape(self) -> Index:
        return tuple(a.size for a in self.axes)

    @property
    def tile(self) -> Index:
        return tuple(a.tile for a in self.axes)

    @property
    def block_axes(self) -> tuple[BlockAxis, ...]:
        return tuple(BlockAxis(a, n, self.borders) for a, n in zip(self.axes, self.block, strict=True))

    @property
    def tile_count(self) -> int:
        return int(np.prod([a.count for a in self.axes], dtype=object))

    @property
    def block_counts(self) -> Index:
        return tuple(b.count for b in self.block_axes)

    @property
    def block_count(self) -> int:
        return int(np.prod(self.block_counts, dtype=object))

    def block_index(self, number: int) -> Index:
        """Per-axis index of block ``number`` (raster order)."""
        return tuple(int(i) for i in np.unravel_index(number, self.block_counts))

    def block_number(self, index: Index) -> int:
        """Number of the block at ``index``."""
        return int(np.ravel_multi_index(index, self.block_counts))

    def block_tiles(self, index: Index) -> Iterator[Index]:
        """Tiles that a block runs, in raster order."""
        return itertools.product(*(b.computed(i) for b, i in zip(self.block_axes, index, strict=True)))

    def block_owned(self, index: Index) -> Iterator[Index]:
        """Tiles that belong to a block and to no other, in raster order."""
        return itertools.product(*(b.owned(i) for b, i in zip(self.block_axes, index, strict=True)))

    @property
    def computed_count(self) -> int:
        """Forward passes of all blocks together; more than ``tile_count`` if borders are recomputed."""
        per_axis = [sum(len(b.computed(i)) for i in range(b.count)) for b in self.block_axes]
        return int(np.prod(per_axis, dtype=object))

    def shared(self, tile: Index, low: Index, high: Index) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """The pixels of the box ``[low, high)`` that a tile votes on, in box and in tile coordinates."""
        in_box, in_tile = [], []
        for axis, k, a, h in zip(self.axes, tile, low, high, strict=True):
            p, q = axis.core(k) if self.borders == "none" else axis.inside(k)
            p, q = max(p, a), min(q, h)
            q = max(p, q)
            in_box.append(slice(p - a, q - a))
            in_tile.append(slice(p - axis.start(k), q - axis.start(k)))
        return tuple(in_box), tuple(in_tile)

    def block_span(self, index: Index) -> tuple[Index, Index]:
        """The box that a block answers for."""
        spans = [b.span(i) for b, i in zip(self.block_axes, index, strict=True)]
        return tuple(s[0] for s in spans), tuple(s[1] for s in spans)

    def cells(self, low: Index, high: Index) -> Iterator[Cell]:
        """Cells that intersect the box ``[low, high)``, clipped to it, in raster order; of an empty box none."""
        if any(a >= h for a, h in zip(low, high, strict=True)):
            return
        per_axis = []
        for block_axis, a, h in zip(self.block_axes, low, high, strict=True):
            cuts = block_axis.cuts()
            per_axis.append(
                [
                    (max(p, a), min(q, h), block_axis.owners(p, q))
                    for p, q in itertools.pairwise(cuts)
                    if p < h and q > a
                ]
            )
        for segments in itertools.product(*per_axis):
            yield Cell(
                low=tuple(s[0] for s in segments),
                high=tuple(s[1] for s in segments),
                owners=tuple(itertools.product(*(s[2] for s in segments))),
            )

    def tiles_touching(self, low: Index, high: Index) -> Iterator[Index]:
        """Tiles with a pixel in the box ``[low, high)``, in raster order."""
        per_axis = [x.touching(a, h) for x, a, h in zip(self.axes, low, high, strict=True)]
        return itertools.product(*per_axis)


def make_grid(
    shape: Index,
    *,
    tile: Index,
    overlap: Index,
    block: Index,
    wraps: tuple[bool, ...] | None = None,
    borders: Borders = "stored",
) -> TileGrid:
    """Lays the tile grid over an image.

    Args:
        shape: Image size per axis.
        tile: Tile size per axis.
        overlap: Pixels that neighbouring tiles share, per axis, less than the tile.
        block: Tiles per block and axis; more than there are is the same as all.
        wraps: Per axis, whether its ends are neighbours.
        borders: What blocks do about pixels that tiles of several blocks vote on.
    """
    wraps = wraps or (False,) * len(shape)
    axes = tuple(
        Axis(size=s, tile=t, step=t - o, wraps=w)
        for s, t, o, w in zip(shape, tile, overlap, wraps, strict=True)
    )
    tiles = tuple(max(1, min(b, a.count)) for b, a in zip(block, axes, strict=True))
    return TileGrid(axes=axes, block=tiles, borders=borders)
