"""The block files of a run, joined: what they say together of a box of the grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.blocks.blockfile import BlockFile, Kind, Slab, TileFailure, block_path
from tasks.blocks.finishing import share_cell
from tasks.planning.plan import Plan
from tasks.tiling import kernels
from tasks.tiling.area import owned_tiles, tiles_by_block
from tasks.tiling.grid import Cell, Index


class JoinedBlocks:
    """Files of blocks, opened as they are needed.

    Args:
        plan: The run's plan.
        directory: Folder of block files. A block without a file counts as failed.
    """

    def __init__(self, plan: Plan, directory: Path) -> None:
        self._plan = plan
        self._directory = directory
        self._files: dict[int, BlockFile | None] = {}

    def owners(self, cell: Cell) -> list[int]:
        """Numbers of the blocks that touch a cell."""
        return [self._plan.grid.block_number(o) for o in cell.owners]

    def file(self, number: int) -> BlockFile | None:
        """A block's file, None if it left none."""
        if number not in self._files:
            path = block_path(self._directory, number)
            self._files[number] = BlockFile(path) if path.exists() else None
        return self._files[number]

    def keep(self, used: Iterable[int]) -> None:
        """Lets go of all other files."""
        self._files = {n: self._files[n] for n in used if n in self._files}

    def sums(self, cell: Cell, owners: list[int]) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
        """Sums ``(planes, *cell)`` and status ``(*cell)`` of a cell that several blocks touch."""
        q = self._plan.quantisation
        sums = np.zeros((q.planes, *cell.shape), q.dtype)
        status = np.zeros(cell.shape, np.uint8)
        for owner in owners:
            file = self.file(owner)
            if file is None:
                np.maximum(status, kernels.FAILED, out=status)
                continue
            for slab, to, source in shared(file, cell, "sums"):
                sums[(slice(None), *to)] += file.read(slab, "sums")[(slice(None), *source)]
                part = status[to]
                np.maximum(part, file.read(slab, "status")[source], out=part)
        return sums, status

    def shares(self, low: Index, high: Index, out: npt.NDArray[Any], status: npt.NDArray[np.uint8]) -> None:
        """Fills probabilities ``(planes, *box)`` and status ``(*box)`` of a box of the grid.

        The blocks must have left them: those of a lattice do, others where the plan asks for probabilities.
        """
        used: set[int] = set()
        for cell in self._plan.grid.cells(low, high):
            at = tuple(slice(p - a, q - a) for p, q, a in zip(cell.low, cell.high, low, strict=True))
            owners = self.owners(cell)
            used.update(owners)
            if len(owners) > 1:
                sums, found = self.sums(cell, owners)
                out[(slice(None), *at)] = share_cell(self._plan, cell.low, sums, found)
                status[at] = found
                continue
            file = self.file(owners[0])
            if file is None:
                out[(slice(None), *at)] = 0
                status[at] = kernels.FAILED
                continue
            for slab, to, source in shared(file, cell, "shares"):
                out[(slice(None), *at)][(slice(None), *to)] = file.read(slab, "shares")[
                    (slice(None), *source)
                ]
                status[at][to] = file.read(slab, "status")[source]
        if used:
            self.keep(used)

    def failures(self) -> list[TileFailure]:
        """Failed tiles of all blocks, in block order; each once, even if several blocks ran it."""
        plan = self._plan
        out: list[TileFailure] = []
        for number in tiles_by_block(plan.grid, plan.tiled_area):
            path = block_path(self._directory, number)
            if path.exists():
                out += BlockFile(path).failures
            else:
                tiles = owned_tiles(plan.grid, plan.grid.block_index(number), plan.tiled_area)
                out += [TileFailure(t, "its block did not finish") for t in tiles]
        return list({f.tile: f for f in out}.values())


def shared(
    file: BlockFile, cell: Cell, kind: Kind
) -> Iterator[tuple[Slab, tuple[slice, ...], tuple[slice, ...]]]:
    """Slabs of a kind that meet a cell, with the common part in cell and in slab coordinates."""
    for slab in file.meeting(kind, cell.low, cell.high):
        low = [max(a, b) for a, b in zip(slab.low, cell.low, strict=True)]
        high = [min(a, b) for a, b in zip(slab.high, cell.high, strict=True)]
        to = tuple(slice(a - c, h - c) for a, h, c in zip(low, high, cell.low, strict=True))
        source = tuple(slice(a - c, h - c) for a, h, c in zip(low, high, slab.low, strict=True))
        yield slab, to, source
