"""Reads block files in raster order and yields the finished mask band by band.

A cell touched by one block was finished there; a cell touched by several is finished
here from the sum of their integers, which no order can change. One band of full lines is
held at a time, never the mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tasks.ahead import one_ahead
from tasks.blocks.blockfile import BlockFile, Slab, TileFailure, block_path
from tasks.blocks.finishing import finish_cell
from tasks.codes import codes_of
from tasks.imagery.protocol import MaskWriter, Window
from tasks.planning.plan import Plan
from tasks.tiling import kernels
from tasks.tiling.area import owned_tiles, tiles_by_block
from tasks.tiling.grid import Cell, Index
from tasks.tiling.roi import clear_outside


@dataclass(frozen=True)
class Band:
    """Finished lines of the mask.

    Attributes:
        window: Where they lie in the mask; bands follow one another in raster order.
        codes: ``(*window)``, uint8 or uint16.
        confidence: ``(*window)``, uint8, 255 = certain, 0 where nothing was predicted.
    """

    window: Window
    codes: npt.NDArray[Any]
    confidence: npt.NDArray[np.uint8]


class Bands(Protocol):
    """A finished mask, band by band."""

    def bands(self) -> Iterator[Band]:
        """Every band, in raster order."""
        ...


class Stitch:
    """The blocks of a run, joined.

    Args:
        plan: The run's plan.
        directory: Folder of block files. A block without a file counts as failed.
        rows: Lines per band.
    """

    def __init__(self, plan: Plan, directory: Path, *, rows: int) -> None:
        self._plan = plan
        self._directory = directory
        self._rows = rows
        self._files: dict[int, BlockFile | None] = {}

    def bands(self) -> Iterator[Band]:
        """Every band, in raster order."""
        first, end = self._plan.bounds
        cut = len(end) - 3 if len(end) > 3 else 0
        for lead in product(*map(range, first[:cut], end[:cut])):
            for start in range(first[cut], end[cut], self._rows):
                stop = min(start + self._rows, end[cut])
                low = (*lead, start, *first[cut + 1 :])
                high = (*(i + 1 for i in lead), stop, *end[cut + 1 :])
                yield self._band(low, high)

    def failures(self) -> list[TileFailure]:
        """Failed tiles of all blocks, in block order; each once, even if several blocks ran it."""
        out: list[TileFailure] = []
        for number in tiles_by_block(self._plan.grid, self._plan.area):
            path = block_path(self._directory, number)
            if path.exists():
                out += BlockFile(path).failures
            else:
                index = self._plan.grid.block_index(number)
                tiles = owned_tiles(self._plan.grid, index, self._plan.area)
                out += [TileFailure(t, "its block did not finish") for t in tiles]
        return list({f.tile: f for f in out}.values())

    def _band(self, low: Index, high: Index) -> Band:
        plan = self._plan
        codes = codes_of(plan.card)
        shape = [h - a for a, h in zip(low, high, strict=True)]
        out = np.empty(shape, codes.dtype)
        confidence = np.empty(shape, np.uint8)
        used: set[int] = set()
        for cell in plan.grid.cells(low, high):
            at = tuple(slice(p - a, q - a) for p, q, a in zip(cell.low, cell.high, low, strict=True))
            owners = [plan.grid.block_number(o) for o in cell.owners]
            used.update(owners)
            if len(owners) == 1:
                self._copy_final(cell, owners[0], out[at], confidence[at])
            else:
                sums, status = self._add_sums(cell, owners)
                out[at], confidence[at] = finish_cell(plan, cell.low, sums, status)
        self._files = {n: f for n, f in self._files.items() if n in used}
        if plan.area is not None:
            plan.area.clear(out, confidence, low, high, code=codes.nodata)
        if plan.roi is not None:
            first, special = plan.card.classes[0].code, codes.unobserved
            clear_outside(out, confidence, low, high, region=plan.roi, first=first, special=special)
        window = tuple(slice(a - o, h - o) for a, h, o in zip(low, high, plan.bounds[0], strict=True))
        return Band(window, out, confidence)

    def _file(self, number: int) -> BlockFile | None:
        if number not in self._files:
            path = block_path(self._directory, number)
            self._files[number] = BlockFile(path) if path.exists() else None
        return self._files[number]

    def _copy_final(
        self, cell: Cell, owner: int, codes: npt.NDArray[Any], confidence: npt.NDArray[np.uint8]
    ) -> None:
        file = self._file(owner)
        if file is None:
            codes[...] = codes_of(self._plan.card).failed
            confidence[...] = 0
            return
        for slab, to, source in _shared(file, cell, "final"):
            codes[to] = file.read(slab, "codes")[source]
            confidence[to] = file.read(slab, "confidence")[source]

    def _add_sums(self, cell: Cell, owners: list[int]) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
        q = self._plan.quantisation
        sums = np.zeros((q.planes, *cell.shape), q.dtype)
        status = np.zeros(cell.shape, np.uint8)
        for owner in owners:
            file = self._file(owner)
            if file is None:
                np.maximum(status, kernels.FAILED, out=status)
                continue
            for slab, to, source in _shared(file, cell, "sums"):
                sums[(slice(None), *to)] += file.read(slab, "sums")[(slice(None), *source)]
                part = status[to]
                np.maximum(part, file.read(slab, "status")[source], out=part)
        return sums, status


def _shared(
    file: BlockFile, cell: Cell, kind: str
) -> Iterator[tuple[Slab, tuple[slice, ...], tuple[slice, ...]]]:
    """Slabs of a kind that meet a cell, with the common part in cell and in slab coordinates."""
    for slab in file.slabs:
        if slab.kind != kind:
            continue
        low = [max(a, b) for a, b in zip(slab.low, cell.low, strict=True)]
        high = [min(a, b) for a, b in zip(slab.high, cell.high, strict=True)]
        if any(a >= h for a, h in zip(low, high, strict=True)):
            continue
        to = tuple(slice(a - c, h - c) for a, h, c in zip(low, high, cell.low, strict=True))
        source = tuple(slice(a - c, h - c) for a, h, c in zip(low, high, slab.low, strict=True))
        yield slab, to, source


def open_stitch(plan: Plan, directory: Path) -> Stitch:
    """The stitch of a run, a band as high as planned."""
    return Stitch(plan, directory, rows=plan.stitch_rows)


def write_mask(stitch: Bands, writer: MaskWriter) -> None:
    """Writes every band once, in raster order; removes what was written if it fails."""
    try:
        for band in one_ahead(stitch.bands()):
            writer.write(band.window, band.codes)
        writer.finish()
    except BaseException:
        writer.abort()
        raise
