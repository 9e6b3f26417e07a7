"""What a block gathers while its tiles are predicted, and how it is left on disk."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.blocks.audit import BlockSeams
from tasks.blocks.blockfile import BlockWriter, TileFailure
from tasks.blocks.finishing import finish_cell, share_cell
from tasks.files import atomic_write
from tasks.planning.plan import Plan
from tasks.resampling.lattice import band_lines
from tasks.tiling import kernels
from tasks.tiling.area import block_tiles, mark_skipped, seen
from tasks.tiling.blend import add_tile
from tasks.tiling.grid import Index

logger = logging.getLogger(__name__)


class Canvas:
    """Sums, status and seams of one block's box; for use by one thread.

    Attributes:
        tiles: What the block has to run, in raster order.
        failures: Tiles that could not be predicted.
    """

    def __init__(self, plan: Plan, index: Index) -> None:
        self._plan = plan
        self._low, self._high = plan.grid.block_span(index)
        box = tuple(h - a for a, h in zip(self._low, self._high, strict=True))
        self._sums = np.zeros((plan.quantisation.planes, *box), plan.quantisation.dtype)
        self._status = np.zeros(box, np.uint8)
        self._seams = BlockSeams(plan.grid, index, planes=plan.quantisation.planes)
        self._owned = set(plan.grid.block_owned(index))
        self.failures: list[TileFailure] = []
        self.tiles = block_tiles(plan.grid, index, plan.tiled_area)
        mark_skipped(
            self._status, self._low, grid=plan.grid, index=index, tiles=self.tiles, code=kernels.NODATA
        )

    def add(self, tile: Index, logits: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]) -> None:
        """Adds a predicted tile.

        Args:
            tile: One of the block's.
            logits: ``(*tile, logits)`` over the grid's or the model's axes.
            valid: ``(*tile)``: where it was measured.
        """
        grid = self._plan.grid
        logits = logits.reshape(*grid.tile, -1)
        self.vote(tile, logits)
        # Borders may be recomputed: a pair of tiles is compared where they belong.
        if tile in self._owned:
            self._seams.add(tile, logits, valid.reshape(grid.tile))

    def vote(self, tile: Index, logits: npt.NDArray[np.float32]) -> None:
        """Adds the votes of a tile alone, ``(*tile, logits)`` over the grid's axes."""
        add_tile(
            self._sums,
            self._low,
            logits=logits,
            grid=self._plan.grid,
            tile=tile,
            blend=self._plan.blend,
            quantisation=self._plan.quantisation,
        )

    def measured(
        self, tile: Index, valid: npt.NDArray[np.bool_], unobserved: npt.NDArray[np.bool_] | None = None
    ) -> bool:
        """Marks what has no data; whether the tile has to be run: it votes on a pixel that has, or is compared.

        Args:
            tile: One of the block's.
            valid: ``(*tile)``: where it was measured.
            unobserved: Where it was not since a validity mask says so; None: nowhere.
        """
        if valid.all():
            return True
        grid = self._plan.grid
        at, inside = grid.shared(tile, self._low, self._high)
        known = valid[inside]
        self._status[at][~known] = kernels.NODATA
        if unobserved is not None:
            self._status[at][unobserved[inside]] = kernels.UNOBSERVED
        if grid.borders == "recomputed" and tile in self._owned:
            # Others run it for what lies beyond this block, but only here it is compared with its neighbours.
            known = valid[grid.shared(tile, (0,) * len(grid.axes), grid.shape)[1]]
        return bool(known.any())

    def fail(self, tile: Index, reason: str) -> None:
        """Marks what a tile votes on as failed."""
        at, _ = self._plan.grid.shared(tile, self._low, self._high)
        np.maximum(self._status[at], kernels.FAILED, out=self._status[at])
        self.failures.append(TileFailure(tile, reason))
        logger.warning("tile %s failed: %s", tile, reason)

    def write(self, path: Path) -> None:
        """Leaves the block's file: what it alone touches finished, the rest as sums; of a preview, its window.

        Raises:
            OutputError: It cannot be written.
        """
        plan = self._plan
        lines = None if plan.resampling is None else band_lines(plan.resampling, plan.stitch_rows)
        with atomic_write(path) as stream:
            writer = BlockWriter(stream)
            for cell in plan.grid.cells(*seen(plan.tiled_area, self._low, self._high)):
                at = tuple(
                    slice(p - a, q - a) for p, q, a in zip(cell.low, cell.high, self._low, strict=True)
                )
                sums, status = self._sums[(slice(None), *at)], self._status[at]
                if len(cell.owners) > 1:
                    writer.add("sums", cell.low, {"sums": sums, "status": status}, lines=lines)
                    continue
                if plan.resampling is not None:
                    shares = share_cell(plan, cell.low, sums, status)
                    writer.add("shares", cell.low, {"shares": shares, "status": status}, lines=lines)
                    continue
                done, confidence = finish_cell(plan, cell.low, sums, status)
                writer.add("final", cell.low, {"codes": done, "confidence": confidence})
                if plan.keeps_shares:
                    shares = share_cell(plan, cell.low, sums, status)
                    writer.add("shares", cell.low, {"shares": shares, "status": status})
            writer.attach(self._seams.arrays())
            writer.close(failures=self.failures)
