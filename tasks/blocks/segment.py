"""Segmenting one block. The tile is the unit of failure, the block that of retry and resume."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segmodels.engines.base import Engine
from tasks.blocks.audit import BlockSeams
from tasks.blocks.blockfile import BlockWriter, TileFailure, block_path
from tasks.blocks.reading import Source, fill_input, read_source
from tasks.codes import Codes, codes_of
from tasks.errors import InputError
from tasks.files import atomic_write
from tasks.imagery.protocol import Image
from tasks.planning.plan import Plan
from tasks.tiling import kernels
from tasks.tiling.area import block_tiles, mark_skipped
from tasks.tiling.blend import add_tile, finish
from tasks.tiling.grid import Index

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BlockOutcome:
    """What a block's task returns: small enough for any orchestrator.

    Attributes:
        number: The block.
        tiles: Tiles it owns.
        failures: Tiles that could not be predicted.
    """

    number: int
    tiles: int
    failures: tuple[TileFailure, ...]


def segment_block(
    plan: Plan,
    number: int,
    *,
    image: Image,
    engine: Engine,
    directory: Path,
    on_tiles: Callable[[int], None] | None = None,
) -> BlockOutcome:
    """Predicts the tiles of one block and leaves its file.

    Args:
        plan: The frozen plan; nothing here depends on anything else.
        number: Block number in raster order.
        image: The input.
        engine: Opened for the plan's batch and tile.
        directory: Folder of block files.
        on_tiles: Called with the number of tiles finished since the last call.

    Raises:
        OutputError: The block's file cannot be written.
    """
    grid = plan.grid
    index = grid.block_index(number)
    low, high = grid.block_span(index)
    box = tuple(h - a for a, h in zip(low, high, strict=True))
    sums = np.zeros((plan.quantisation.planes, *box), plan.quantisation.dtype)
    status = np.zeros(box, np.uint8)
    failures: list[TileFailure] = []
    tiles = block_tiles(grid, index, plan.area)
    mark_skipped(status, low, grid=grid, index=index, tiles=tiles, code=kernels.NODATA)
    seams = BlockSeams(grid, index, planes=plan.quantisation.planes)
    for held, inputs in _batches(plan, image, tiles, low, status, failures):
        for tile, logits in _predict(plan, engine, held, inputs, status, low, failures):
            add_tile(
                sums,
                low,
                logits=logits.reshape(*grid.tile, -1),
                grid=grid,
                tile=tile,
                blend=plan.blend,
                quantisation=plan.quantisation,
            )
            seams.add(tile, logits.reshape(*grid.tile, -1), status)
        if on_tiles:
            on_tiles(len(held))
    _write(
        plan, index, sums, status, low, codes_of(plan.card), failures, seams, block_path(directory, number)
    )
    return BlockOutcome(number, len(tiles), tuple(failures))


def _batches(
    plan: Plan,
    image: Image,
    tiles: list[Index],
    low: Index,
    status: npt.NDArray[np.uint8],
    failures: list[TileFailure],
) -> Iterator[tuple[list[Index], npt.NDArray[np.float32]]]:
    """Reads, marks nodata, normalises; yields up to ``plan.batch`` tiles and the batch that holds them."""
    # One buffer for all batches: an engine is done with it when it answers.
    inputs = np.zeros((plan.batch, *plan.tile, len(plan.card.channels)), np.float32)
    held: list[Index] = []
    for tile, source in _sources(plan, image, tiles, low, status, failures):
        valid = fill_input(
            source,
            plan.grid,
            tile,
            padding=plan.padding,
            normaliser=plan.normaliser,
            out=inputs[len(held)],
        )
        if not _mark_nodata(plan, tile, low, valid, status):
            continue
        held.append(tile)
        if len(held) == plan.batch:
            yield held, inputs
            held = []
    if held:
        inputs[len(held) :] = 0
        yield held, inputs


def _mark_nodata(
    plan: Plan, tile: Index, low: Index, valid: npt.NDArray[np.bool_], status: npt.NDArray[np.uint8]
) -> bool:
    """Marks what was not measured; whether anything in the tile was."""
    if valid.all():
        return True
    at, inside = _inside(plan, tile, low)
    seen = valid[inside]
    status[at][~seen] = kernels.NODATA
    return bool(seen.any())


def _sources(
    plan: Plan,
    image: Image,
    tiles: list[Index],
    low: Index,
    status: npt.NDArray[np.uint8],
    failures: list[TileFailure],
) -> Iterator[tuple[Index, Source]]:
    """One read for the whole block; if it fails, tile by tile, so that only the bad ones are lost."""
    try:
        whole = read_source(image, plan.grid, tiles, padding=plan.padding)
    except InputError as error:
        logger.warning("reading tile by tile: %s", error)
        for tile in tiles:
            try:
                yield tile, read_source(image, plan.grid, [tile], padding=plan.padding)
            except InputError as reason:
                _fail(plan, tile, low, str(reason), status, failures)
    else:
        for tile in tiles:
            yield tile, whole


def _predict(
    plan: Plan,
    engine: Engine,
    held: list[Index],
    inputs: npt.NDArray[np.float32],
    status: npt.NDArray[np.uint8],
    low: Index,
    failures: list[TileFailure],
) -> Iterator[tuple[Index, npt.NDArray[np.float32]]]:
    """Runs a batch of fixed shape; a batch that fails is tried tile by tile."""
    try:
        results = engine.logits(inputs)
    except Exception as error:
        if len(held) == 1:
            _fail(plan, held[0], low, f"{type(error).__name__}: {error}", status, failures)
            return
        logger.warning("running %d tiles one by one: %s", len(held), error)
        for i, tile in enumerate(held):
            alone = np.zeros_like(inputs)
            alone[0] = inputs[i]
            yield from _predict(plan, engine, [tile], alone, status, low, failures)
        return
    for tile, logits in zip(held, results, strict=False):
        if np.isfinite(logits).all():
            yield tile, logits
        else:
            _fail(plan, tile, low, "the model gave logits that are not finite", status, failures)


def _inside(plan: Plan, tile: Index, low: Index) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The part of a tile inside the image, in box and in tile coordinates."""
    in_box, in_tile = [], []
    for axis, k, a in zip(plan.grid.axes, tile, low, strict=True):
        p, q = axis.inside(k)
        in_box.append(slice(p - a, q - a))
        in_tile.append(slice(p - axis.start(k), q - axis.start(k)))
    return tuple(in_box), tuple(in_tile)


def _fail(
    plan: Plan,
    tile: Index,
    low: Index,
    reason: str,
    status: npt.NDArray[np.uint8],
    failures: list[TileFailure],
) -> None:
    at, _ = _inside(plan, tile, low)
    np.maximum(status[at], kernels.FAILED, out=status[at])
    failures.append(TileFailure(tile, reason))
    logger.warning("tile %s failed: %s", tile, reason)


def _write(
    plan: Plan,
    index: Index,
    sums: npt.NDArray[np.generic],
    status: npt.NDArray[np.uint8],
    low: Index,
    codes: Codes,
    failures: list[TileFailure],
    seams: BlockSeams,
    path: Path,
) -> None:
    high = plan.grid.block_span(index)[1]
    with atomic_write(path) as stream:
        writer = BlockWriter(stream)
        for cell in plan.grid.cells(low, high):
            at = tuple(slice(p - a, q - a) for p, q, a in zip(cell.low, cell.high, low, strict=True))
            part, part_status = sums[(slice(None), *at)], status[at]
            if len(cell.owners) == 1:
                done, confidence = finish(
                    part,
                    part_status,
                    cell.low,
                    grid=plan.grid,
                    blend=plan.blend,
                    quantisation=plan.quantisation,
                    codes=codes,
                )
                writer.add("final", cell.low, {"codes": done, "confidence": confidence})
            else:
                writer.add("sums", cell.low, {"sums": part, "status": part_status})
        writer.attach(seams.arrays())
        writer.close(failures=failures)
