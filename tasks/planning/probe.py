"""A probe of one tile: what reading, the model, blending and writing cost on this machine, now."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segmodels.engines.base import Engine
from tasks.blocks.blockfile import BlockWriter
from tasks.blocks.reading import fill_input, read_source
from tasks.codes import codes_of
from tasks.imagery.protocol import Image
from tasks.planning.budget import stored_bytes
from tasks.planning.layout import BORDER_SECONDS
from tasks.planning.plan import Plan
from tasks.tiling.area import forward_passes, tiles_by_block
from tasks.tiling.blend import add_tile, finish

#: Seconds a pixel of what the probe does not run, measured on two x86-64 cores with a raster of
#: 6000² × 3 uint8 and a volume of 512 × 512 × 200 int16; another machine's differ.
STATISTICS_SECONDS = 4e-9
STITCH_SECONDS = 60e-9
REGION_SECONDS = 130e-9
#: Report, pictures and publishing, whatever the size.
REPORT_SECONDS = 4.0
#: A probe goes on measuring batches until it has spent this, or has five.
PATIENCE = 2.0


@dataclass(frozen=True)
class Costs:
    """Seconds on this machine.

    Attributes:
        forward: One batch through the model, warm.
        read: Reading and normalising, per pixel of a tile.
        blend: Adding a tile to the sums, per pixel.
        write: Finishing, compressing and writing, per pixel.
    """

    forward: float
    read: float
    blend: float
    write: float


@dataclass(frozen=True)
class Estimate:
    """Seconds that a run will take, its start not counted.

    Attributes:
        statistics: The pass over the image before the first block.
        segment: All blocks.
        stitch: The mask.
        regions: Regions, report and publishing.
    """

    statistics: float
    segment: float
    stitch: float
    regions: float

    @property
    def total(self) -> float:
        """Of all steps."""
        return self.statistics + self.segment + self.stitch + self.regions


def probe(plan: Plan, image: Image, engine: Engine, folder: Path) -> Costs:
    """Runs the tile in the image's middle; a few batches of the plan's shape.

    Args:
        engine: Opened for the plan; it is warmed here.
        folder: For a temporary file.

    Raises:
        InputError: The storage cannot be read there.
    """
    grid = plan.grid
    tile = tuple(a.count // 2 for a in grid.axes)
    pixels = math.prod(grid.tile)
    begin = time.perf_counter()
    source = read_source(image, grid, [tile], padding=plan.padding)
    batch = np.empty((plan.batch, *plan.tile, len(plan.card.channels)), np.float32)
    fill_input(source, grid, tile, padding=plan.padding, normaliser=plan.normaliser, out=batch[0])
    read = time.perf_counter() - begin
    batch[1:] = batch[0]
    forward = _forward(engine, batch)
    logits = engine.logits(batch)[0].reshape(*grid.tile, -1)
    # What the tile votes on: every pixel of it gets a sum.
    votes = [
        a.core(k) if grid.borders == "none" else a.inside(k) for a, k in zip(grid.axes, tile, strict=True)
    ]
    low, shape = tuple(p for p, _ in votes), [q - p for p, q in votes]
    sums = np.zeros((plan.quantisation.planes, *shape), plan.quantisation.dtype)
    status = np.zeros(shape, np.uint8)
    how = {"grid": grid, "blend": plan.blend, "quantisation": plan.quantisation}
    blend = _median(lambda: add_tile(sums, low, logits=logits, tile=tile, **how))  # type: ignore[arg-type]

    def write() -> None:
        codes, confidence = finish(sums, status, low, codes=codes_of(plan.card), **how)  # type: ignore[arg-type]
        with (folder / "probe.blk").open("wb") as stream:
            writer = BlockWriter(stream)
            writer.add("final", low, {"codes": codes, "confidence": confidence})
            writer.close(failures=[])
            os.fsync(stream.fileno())

    return Costs(forward, read / pixels, blend / pixels, _median(write) / max(1, math.prod(shape)))


def _forward(engine: Engine, batch: npt.NDArray[np.float32]) -> float:
    """Seconds of a forward pass where as many threads call as the engine serves at once."""
    with ThreadPoolExecutor(engine.callers) as pool:

        def all_at_once() -> None:
            for _ in pool.map(engine.logits, [batch] * engine.callers):
                pass

        return _median(all_at_once) / engine.callers


def _median(work: Callable[[], object]) -> float:
    """Seconds of ``work``, warm: the median of up to five."""
    work()
    took: list[float] = []
    while len(took) < 5 and sum(took) < PATIENCE:
        begin = time.perf_counter()
        work()
        took.append(time.perf_counter() - begin)
    return statistics.median(took)


def estimate(plan: Plan, costs: Costs, *, on_gpu: bool) -> Estimate:
    """What a run will take at these costs, every tile run that may be in a region of interest."""
    grid = plan.grid
    pixels = math.prod(plan.shape if plan.area is None else plan.area.shape)
    tiles = sum(tiles_by_block(grid, plan.tiled_area).values())
    passes = forward_passes(grid, plan.tiled_area)
    # The model sees tiles of the region alone, where there is one.
    seen = passes if plan.roi is None else passes * plan.region_tiles / max(1, tiles)
    tile = math.prod(grid.tile)
    engine = math.ceil(seen / plan.batch) * costs.forward
    beside = passes * tile * (costs.read + costs.blend) + pixels * costs.write
    borders = stored_bytes(grid, plan.quantisation) * BORDER_SECONDS / 2 * tiles / grid.tile_count
    beside += borders
    hands = min(plan.workers, os.cpu_count() or 1, grid.block_count)
    # On a GPU the model leaves the cores to what is done beside it.
    segment = max(engine, beside / hands) if on_gpu else engine + beside / hands
    whole = math.prod(grid.shape) * (costs.read + STATISTICS_SECONDS * len(plan.card.channels))
    stitch = pixels * STITCH_SECONDS + borders
    # The regions read the stitched bands again, with the image's values below them.
    regions = stitch + pixels * (REGION_SECONDS + costs.read) + REPORT_SECONDS
    return Estimate(whole, segment, stitch, regions)
