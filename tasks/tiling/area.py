"""The part of an image that a preview computes: a window of whole pixels, and what of it counts.

Tiles, blocks, statistics and batches stay those of the whole image; an area only chooses
tiles. Every tile that covers a pixel of the area is chosen, so the area's pixels get all
their votes and equal those of the full run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.files import atomic_write
from tasks.tiling.grid import Index, TileGrid

_Bits = npt.NDArray[np.bool_]
#: Pixels of a bitmap that are held at once while it is made.
STRIP_PIXELS = 1 << 22


@dataclass(frozen=True)
class Area:
    """A window, and a bitmap where not all of it counts.

    Attributes:
        low: First pixel of the window per image axis.
        high: Its end per axis.
        digest: Of the window and of the bitmap's content.
        bitmap: ``.npy`` file of the window's last axes, eight pixels a byte along the last
            one; axes before them (frames) share it. None: all of the window counts.
    """

    low: Index
    high: Index
    digest: str
    bitmap: Path | None = None

    @property
    def shape(self) -> Index:
        """Pixels of the window per axis."""
        return tuple(h - a for a, h in zip(self.low, self.high, strict=True))

    def inside(self, low: Index, high: Index) -> _Bits:
        """Which pixels of a box (in image coordinates, within the window) belong to the area."""
        shape = [h - a for a, h in zip(low, high, strict=True)]
        if self.bitmap is None:
            return np.ones(shape, bool)
        packed: npt.NDArray[np.uint8] = np.load(self.bitmap, mmap_mode="r")
        skip = len(low) - packed.ndim
        first = [a - o for a, o in zip(low, self.low, strict=True)][skip:]
        last = [h - o for h, o in zip(high, self.low, strict=True)][skip:]
        rows = tuple(slice(a, h) for a, h in zip(first[:-1], last[:-1], strict=True))
        part = packed[(*rows, slice(first[-1] // 8, -(-last[-1] // 8)))]
        bits = np.unpackbits(part, axis=-1)[..., first[-1] % 8 :][..., : shape[-1]]
        return np.broadcast_to(bits.astype(bool), shape)

    def touches(self, low: Index, high: Index) -> bool:
        """Whether any pixel of a box (in image coordinates) belongs to the area."""
        first = tuple(map(max, low, self.low))
        last = tuple(map(min, high, self.high))
        if any(a >= h for a, h in zip(first, last, strict=True)):
            return False
        return self.bitmap is None or bool(self.inside(first, last).any())

    def clear(
        self,
        codes: npt.NDArray[Any],
        confidence: npt.NDArray[np.uint8],
        low: Index,
        high: Index,
        *,
        code: int,
    ) -> None:
        """Gives pixels of a box that do not belong to the area ``code`` and no confidence."""
        if self.bitmap is not None:
            outside = ~self.inside(low, high)
            codes[outside] = code
            confidence[outside] = 0


def block_tiles(grid: TileGrid, index: Index, area: Area | None) -> list[Index]:
    """The tiles that a block has to compute, in raster order."""
    tiles = grid.block_tiles(index)
    return [t for t in tiles if area is None or area.touches(*tile_box(grid, t))]


def owned_tiles(grid: TileGrid, index: Index, area: Area | None) -> list[Index]:
    """Of these, the ones that belong to the block and to no other."""
    tiles = grid.block_owned(index)
    return [t for t in tiles if area is None or area.touches(*tile_box(grid, t))]


def mark_skipped(
    status: npt.NDArray[np.uint8], low: Index, *, grid: TileGrid, index: Index, tiles: list[Index], code: int
) -> None:
    """Gives ``code`` to what a block's skipped tiles cover: those pixels lack votes, and none is of the area.

    Args:
        status: Of the block's box, whose first pixel is ``low``.
        low: In image coordinates.
        grid: The image's grid.
        index: The block.
        tiles: Those that it computes.
        code: For all that the others cover.
    """
    high = tuple(a + n for a, n in zip(low, status.shape, strict=True))
    for tile in set(grid.block_tiles(index)) - set(tiles):
        status[grid.shared(tile, low, high)[0]] = code


def seen(area: Area | None, low: Index, high: Index) -> tuple[Index, Index]:
    """The part of a box that results show: all of it, or what lies in a preview's window (maybe nothing)."""
    if area is None:
        return low, high
    first = tuple(map(max, low, area.low))
    last = tuple(map(min, high, area.high))
    return (low, low) if any(a >= h for a, h in zip(first, last, strict=True)) else (first, last)


def tile_box(grid: TileGrid, tile: Index) -> tuple[Index, Index]:
    """The part of a tile that lies in the image."""
    spans = [a.inside(k) for a, k in zip(grid.axes, tile, strict=True)]
    return tuple(s[0] for s in spans), tuple(s[1] for s in spans)


def tiles_by_block(grid: TileGrid, area: Area | None) -> dict[int, int]:
    """How many tiles each block has to compute, for those that have any, in block order."""
    if area is None:
        counts = (b.count for b in grid.block_axes)
        sizes = [[len(b.owned(i)) for i in range(n)] for b, n in zip(grid.block_axes, counts, strict=True)]
        product = np.ones((), np.int64)
        for size in sizes:
            product = np.multiply.outer(product, np.array(size, np.int64))
        return dict(enumerate(product.ravel().tolist()))
    out: dict[int, int] = {}
    for tile in grid.tiles_touching(area.low, area.high):
        if area.bitmap is None or area.touches(*tile_box(grid, tile)):
            number = grid.block_number(tuple(k // n for k, n in zip(tile, grid.block, strict=True)))
            out[number] = out.get(number, 0) + 1
    return dict(sorted(out.items()))


def forward_passes(grid: TileGrid, area: Area | None) -> int:
    """Tiles that all blocks together run; more than there are if borders are recomputed."""
    if area is None:
        return grid.computed_count
    numbers = tiles_by_block(grid, area)
    return sum(len(block_tiles(grid, grid.block_index(n), area)) for n in numbers)


def whole_window(low: Index, high: Index) -> Area:
    """An area that is all of a window."""
    return Area(low, high, f"sha256:{_hash(low, high).hexdigest()}")


def write_area(
    low: Index, high: Index, bits: Callable[[Index, Index], _Bits], *, lead: int, folder: Path
) -> Area | None:
    """Writes the bitmap of a window, strip by strip.

    Args:
        low: First pixel of the window per image axis.
        high: Its end.
        bits: Gives the pixels of a box (image coordinates, without the leading axes).
        lead: Leading axes (frames) that share the bitmap.
        folder: Where it goes; its name is its digest, so equal areas are one file.

    Returns:
        The area, or None if no pixel belongs to it.
    """
    first, last = low[lead:], high[lead:]
    shape = tuple(h - a for a, h in zip(first, last, strict=True))
    folder.mkdir(parents=True, exist_ok=True)
    hashed, found = _hash(low, high), False
    part = folder / "area.part.npy"
    with atomic_write(part) as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": (*shape[:-1], -(-shape[-1] // 8))}
        np.lib.format.write_array_header_1_0(stream, header)
        for box in strips(first, last):
            inside = bits(*box)
            found = found or bool(inside.any())
            data = np.packbits(inside, axis=-1).tobytes()
            hashed.update(data)
            stream.write(data)
    if not found:
        part.unlink()
        return None
    target = folder / f"area-{hashed.hexdigest()[:16]}.npy"
    part.replace(target)
    return Area(low, high, f"sha256:{hashed.hexdigest()}", target.absolute())


def strips(low: Index, high: Index) -> Iterator[tuple[Index, Index]]:
    """Boxes of whole lines that follow one another in raster order and hold a bounded number of pixels."""
    line = int(np.prod([h - a for a, h in zip(low[1:], high[1:], strict=True)], dtype=object))
    if line > STRIP_PIXELS and len(low) > 2:
        for i in range(low[0], high[0]):
            yield from (((i, *a), (i + 1, *h)) for a, h in strips(low[1:], high[1:]))
        return
    rows = max(1, STRIP_PIXELS // line)
    for start in range(low[0], high[0], rows):
        yield (start, *low[1:]), (min(start + rows, high[0]), *high[1:])


def _hash(low: Index, high: Index) -> Any:
    return hashlib.sha256(repr((tuple(low), tuple(high))).encode())
