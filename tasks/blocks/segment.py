"""Segmenting one block. The tile is the unit of failure, the block that of retry and resume."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segmodels.engines.base import Engine
from tasks.blocks.blockfile import TileFailure, block_path
from tasks.blocks.canvas import Canvas
from tasks.blocks.empty import background, is_empty
from tasks.blocks.reading import Source, fill_input, read_source
from tasks.errors import InputError
from tasks.imagery.protocol import Image
from tasks.planning.plan import Plan
from tasks.tiling.grid import Index
from tasks.tiling.roi import wanted

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BlockOutcome:
    """What a block's task returns: small enough for any orchestrator.

    Attributes:
        number: The block.
        tiles: Tiles it ran.
        failures: Tiles that could not be predicted.
    """

    number: int
    tiles: int
    failures: tuple[TileFailure, ...]


@dataclass(frozen=True)
class _Held:
    """Up to a batch of tiles, read and normalised.

    Attributes:
        tiles: Which.
        valid: ``(*tile)`` of each, over the grid's axes.
        inputs: ``(batch, *tile, channels)`` over the model's axes; what no tile fills is 0.
    """

    tiles: list[Index]
    valid: list[npt.NDArray[np.bool_]]
    inputs: npt.NDArray[np.float32]


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
    canvas = Canvas(plan, plan.grid.block_index(number))
    for held in _batches(plan, image, canvas):
        _predict(held, engine, canvas)
        if on_tiles:
            on_tiles(len(held.tiles))
    canvas.write(block_path(directory, number))
    return BlockOutcome(number, len(canvas.tiles), tuple(canvas.failures))


def _batches(plan: Plan, image: Image, canvas: Canvas) -> Iterator[_Held]:
    """Reads, marks nodata, normalises; yields up to ``plan.batch`` tiles at a time."""
    # One buffer for all batches: an engine is done with it when it answers.
    inputs = np.zeros((plan.batch, *plan.tile, len(plan.card.channels)), np.float32)
    held = _Held([], [], inputs)
    for tile, source in _sources(plan, image, canvas):
        valid = fill_input(
            source,
            plan.grid,
            tile,
            padding=plan.padding,
            normaliser=plan.normaliser,
            out=inputs[len(held.tiles)],
        )
        if not canvas.measured(tile, valid) or not wanted(plan.grid, tile, plan.tiled_roi):
            continue
        if is_empty(plan, source, tile):
            canvas.vote(tile, background(plan))
            continue
        held.tiles.append(tile)
        held.valid.append(valid)
        if len(held.tiles) == plan.batch:
            yield held
            held = _Held([], [], inputs)
    if held.tiles:
        inputs[len(held.tiles) :] = 0
        yield held


def _sources(plan: Plan, image: Image, canvas: Canvas) -> Iterator[tuple[Index, Source]]:
    """One read for the whole block; if it fails, tile by tile, so that only the bad ones are lost."""
    unread = plan.unread
    tiles = [t for t in canvas.tiles if wanted(plan.grid, t, unread)]
    if not tiles:
        return
    try:
        whole = read_source(image, plan.grid, tiles, padding=plan.padding)
    except InputError as error:
        logger.warning("reading tile by tile: %s", error)
        for tile in tiles:
            try:
                yield tile, read_source(image, plan.grid, [tile], padding=plan.padding)
            except InputError as reason:
                canvas.fail(tile, str(reason))
    else:
        for tile in tiles:
            yield tile, whole


def _predict(held: _Held, engine: Engine, canvas: Canvas) -> None:
    """Runs a batch of fixed shape; a batch that fails is tried tile by tile."""
    try:
        results = engine.logits(held.inputs)
    except Exception as error:
        if len(held.tiles) == 1:
            canvas.fail(held.tiles[0], f"{type(error).__name__}: {error}")
            return
        logger.warning("running %d tiles one by one: %s", len(held.tiles), error)
        for i, tile in enumerate(held.tiles):
            alone = np.zeros_like(held.inputs)
            alone[0] = held.inputs[i]
            _predict(_Held([tile], [held.valid[i]], alone), engine, canvas)
        return
    for tile, valid, logits in zip(held.tiles, held.valid, results, strict=False):
        if np.isfinite(logits).all():
            canvas.add(tile, logits, valid)
        else:
            canvas.fail(tile, "the model gave logits that are not finite")
