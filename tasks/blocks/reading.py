"""Reading what a block's tiles need, each source pixel once, halo and padding included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from segmodels.normalise import Normaliser
from tasks.blocks.fill import fill_tile
from tasks.imagery.protocol import Image, Pixels, Window
from tasks.tiling.area import Area
from tasks.tiling.grid import Index, Padding, TileGrid
from tasks.tiling.roi import wanted_tiles


@dataclass(frozen=True)
class Source:
    """The pixels of a set of tiles, compacted: only coordinates that some tile uses.

    Attributes:
        coordinates: Per axis, the sorted image coordinates that are held.
        pixels: Their values ``(*lengths, channels)`` and validity.
    """

    coordinates: tuple[npt.NDArray[np.int64], ...]
    pixels: Pixels


def read_source(image: Image, grid: TileGrid, tiles: list[Index], *, padding: Padding) -> Source:
    """Reads everything that ``tiles`` need.

    Raises:
        InputError: The storage cannot be read there.
    """
    coordinates, runs = _needed(grid, tiles, padding)
    lengths = [len(c) for c in coordinates]
    values: npt.NDArray[np.generic] | None = None
    valid = np.empty(lengths, bool)
    unobserved: npt.NDArray[np.bool_] | None = None
    for pieces in product(*runs):
        window = tuple(slice(first, last + 1) for _, first, last in pieces)
        at = tuple(slice(i, i + last - first + 1) for i, first, last in pieces)
        part = image.read(window)
        if values is None:
            if all(len(r) == 1 for r in runs):
                return Source(tuple(coordinates), _contiguous(part))
            values = np.empty([*lengths, part.values.shape[-1]], part.values.dtype)
        values[at] = part.values
        valid[at] = part.valid
        if part.unobserved is not None:
            unobserved = np.zeros(lengths, bool) if unobserved is None else unobserved
            unobserved[at] = part.unobserved
    assert values is not None
    return Source(tuple(coordinates), Pixels(values, valid, unobserved))


def block_windows(
    grid: TileGrid, *, padding: Padding, area: Area | None = None, region: Area | None = None
) -> Iterator[Window]:
    """Every window that the blocks of a grid will read, in their order.

    Args:
        area: What is computed; None for all.
        region: Outside which nothing is read; None to read all.
    """
    for number in range(grid.block_count):
        tiles = wanted_tiles(grid, grid.block_index(number), area, region)
        if not tiles:
            continue
        _, runs = _needed(grid, tiles, padding)
        for pieces in product(*runs):
            yield tuple(slice(first, last + 1) for _, first, last in pieces)


def _needed(
    grid: TileGrid, tiles: list[Index], padding: Padding
) -> tuple[list[npt.NDArray[np.int64]], list[list[tuple[int, int, int]]]]:
    """Per axis, the sorted image coordinates that tiles use, and their consecutive runs."""
    coordinates = []
    for d, axis in enumerate(grid.axes):
        used = [axis.sources(k, padding)[0] for k in sorted({t[d] for t in tiles})]
        coordinates.append(np.unique(np.concatenate(used)))
    return coordinates, [_runs(c) for c in coordinates]


def _contiguous(pixels: Pixels) -> Pixels:
    hidden = pixels.unobserved
    return Pixels(
        np.ascontiguousarray(pixels.values),
        np.ascontiguousarray(pixels.valid),
        None if hidden is None else np.ascontiguousarray(hidden),
    )


def _runs(coordinates: npt.NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Splits sorted coordinates into ``(position, first, last)`` of consecutive ones."""
    breaks = np.flatnonzero(np.diff(coordinates) != 1) + 1
    starts = [0, *breaks.tolist()]
    ends = [*breaks.tolist(), len(coordinates)]
    return [(a, int(coordinates[a]), int(coordinates[b - 1])) for a, b in zip(starts, ends, strict=True)]


def fill_input(
    source: Source,
    grid: TileGrid,
    tile: Index,
    *,
    padding: Padding,
    normaliser: Normaliser,
    out: npt.NDArray[np.float32],
) -> npt.NDArray[np.bool_]:
    """Fills one tile's input to the model.

    Args:
        out: ``(*tile, channels)`` over the model's own axes, C-contiguous: normalised values, 0 where
            not valid.

    Returns:
        Validity ``(*tile)`` over the grid's axes.
    """
    positions, usable = [], []
    for axis, k, have in zip(grid.axes, tile, source.coordinates, strict=True):
        wanted, inside = axis.sources(k, padding)
        positions.append(np.searchsorted(have, wanted))
        usable.append(inside)
    pixels = source.pixels
    valid = fill_tile(pixels.values, pixels.valid, tuple(positions), normaliser=normaliser, out=out)
    for d, inside in enumerate(usable):
        if not inside.all():
            outside = (slice(None),) * d + (~inside,)
            valid[outside] = False
            out.reshape(*grid.tile, -1)[outside] = 0
    return valid


def tile_unobserved(
    source: Source, grid: TileGrid, tile: Index, *, padding: Padding
) -> npt.NDArray[np.bool_] | None:
    """Where a validity mask hides a tile, ``(*tile)`` over the grid's axes; None where it hides nothing of it."""
    hidden = source.pixels.unobserved
    if hidden is None:
        return None
    positions = [
        np.searchsorted(have, axis.sources(k, padding)[0])
        for axis, k, have in zip(grid.axes, tile, source.coordinates, strict=True)
    ]
    found = hidden[np.ix_(*positions)]
    return found if found.any() else None
