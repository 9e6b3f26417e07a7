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
from tasks.blocks.blockfile import TileFailure
from tasks.blocks.finishing import finish_cell
from tasks.codes import codes_of
from tasks.imagery.protocol import MaskWriter, Window
from tasks.planning.plan import Plan
from tasks.stitching.joined import JoinedBlocks, shared
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


class Stitching(Bands, Protocol):
    """The blocks of a run, joined."""

    def failures(self) -> list[TileFailure]:
        """Failed tiles of all blocks, in block order; each once, even if several blocks ran it."""
        ...


def band_boxes(plan: Plan, *, rows: int) -> Iterator[tuple[Index, Index]]:
    """First pixel and end of every band of a run's results, in raster order."""
    first, end = plan.bounds
    cut = len(end) - 3 if len(end) > 3 else 0
    for lead in product(*map(range, first[:cut], end[:cut])):
        for start in range(first[cut], end[cut], rows):
            stop = min(start + rows, end[cut])
            yield (*lead, start, *first[cut + 1 :]), (*(i + 1 for i in lead), stop, *end[cut + 1 :])


def finished_band(
    plan: Plan, low: Index, high: Index, codes: npt.NDArray[Any], confidence: npt.NDArray[np.uint8]
) -> Band:
    """A band of what was predicted, without what lies outside a preview's area or a region of interest.

    Args:
        plan: The run's plan.
        low: First pixel of the band in the image.
        high: Its end.
        codes: ``(*band)``, changed in place.
        confidence: ``(*band)``, changed in place.
    """
    known = codes_of(plan.card)
    if plan.area is not None:
        plan.area.clear(codes, confidence, low, high, code=known.nodata)
    if plan.roi is not None:
        first = plan.card.classes[0].code
        clear_outside(codes, confidence, low, high, region=plan.roi, first=first, special=known.unobserved)
    window = tuple(slice(a - o, h - o) for a, h, o in zip(low, high, plan.bounds[0], strict=True))
    return Band(window, codes, confidence)


class Stitch:
    """The blocks of a run on the image's own pixels, joined.

    Args:
        plan: The run's plan.
        directory: Folder of block files. A block without a file counts as failed.
        rows: Lines per band.
    """

    def __init__(self, plan: Plan, directory: Path, *, rows: int) -> None:
        self._plan = plan
        self._rows = rows
        self._blocks = JoinedBlocks(plan, directory)

    def bands(self) -> Iterator[Band]:
        """Every band, in raster order."""
        for low, high in band_boxes(self._plan, rows=self._rows):
            yield self._band(low, high)

    def failures(self) -> list[TileFailure]:
        """See :class:`Stitching`."""
        return self._blocks.failures()

    def _band(self, low: Index, high: Index) -> Band:
        plan = self._plan
        shape = [h - a for a, h in zip(low, high, strict=True)]
        out = np.empty(shape, codes_of(plan.card).dtype)
        confidence = np.empty(shape, np.uint8)
        used: set[int] = set()
        for cell in plan.grid.cells(low, high):
            at = tuple(slice(p - a, q - a) for p, q, a in zip(cell.low, cell.high, low, strict=True))
            owners = self._blocks.owners(cell)
            used.update(owners)
            if len(owners) == 1:
                self._copy_final(cell, owners[0], out[at], confidence[at])
            else:
                sums, status = self._blocks.sums(cell, owners)
                out[at], confidence[at] = finish_cell(plan, cell.low, sums, status)
        self._blocks.keep(used)
        return finished_band(plan, low, high, out, confidence)

    def _copy_final(
        self, cell: Cell, owner: int, codes: npt.NDArray[Any], confidence: npt.NDArray[np.uint8]
    ) -> None:
        file = self._blocks.file(owner)
        if file is None:
            codes[...] = codes_of(self._plan.card).failed
            confidence[...] = 0
            return
        for slab, to, source in shared(file, cell, "final"):
            codes[to] = file.read(slab, "codes")[source]
            confidence[to] = file.read(slab, "confidence")[source]


def write_mask(stitch: Bands, writer: MaskWriter) -> None:
    """Writes every band once, in raster order; removes what was written if it fails."""
    try:
        for band in one_ahead(stitch.bands()):
            writer.write(band.window, band.codes)
        writer.finish()
    except BaseException:
        writer.abort()
        raise
