"""Tiles and pixels of a region of interest: what lies outside counts as the first class."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.tiling.area import Area, block_tiles, tile_box
from tasks.tiling.grid import Index, TileGrid


def wanted(grid: TileGrid, tile: Index, region: Area | None) -> bool:
    """Whether a tile votes on a pixel of the region; decided by tile and region alone."""
    if region is None:
        return True
    if grid.borders != "none":
        return region.touches(*tile_box(grid, tile))
    spans = [a.core(k) for a, k in zip(grid.axes, tile, strict=True)]
    return region.touches(tuple(s[0] for s in spans), tuple(s[1] for s in spans))


def wanted_tiles(grid: TileGrid, index: Index, area: Area | None, region: Area | None) -> list[Index]:
    """Of the tiles that a block computes, those that vote on a pixel of the region."""
    return [t for t in block_tiles(grid, index, area) if wanted(grid, t, region)]


def wanted_count(grid: TileGrid, area: Area | None, region: Area) -> int:
    """Tiles, each once, that vote on a pixel of the region."""
    if any(a >= h for a, h in zip(region.low, region.high, strict=True)):
        return 0
    chosen = (t for t in grid.tiles_touching(region.low, region.high) if wanted(grid, t, region))
    return sum(1 for t in chosen if area is None or area.touches(*tile_box(grid, t)))


def clear_outside(
    codes: npt.NDArray[Any],
    confidence: npt.NDArray[np.uint8],
    low: Index,
    high: Index,
    *,
    region: Area,
    first: int,
    special: int,
) -> None:
    """Gives pixels of a box outside a region the first class and full confidence, unless they have no class.

    Args:
        codes: ``(*box)``, changed in place.
        confidence: ``(*box)``, changed in place.
        low: First pixel of the box per axis.
        high: Its end.
        region: The region of interest.
        first: Code of the first class.
        special: Least code of pixels without a class.
    """
    outside = codes < special
    a = tuple(map(max, low, region.low))
    b = tuple(map(min, high, region.high))
    if all(p < q for p, q in zip(a, b, strict=True)):
        at = tuple(slice(p - o, q - o) for p, q, o in zip(a, b, low, strict=True))
        outside[at] &= ~region.inside(a, b)
    codes[outside] = first
    confidence[outside] = 255
