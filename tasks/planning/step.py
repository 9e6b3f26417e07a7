"""The plan step: from a request to a plan on disk, and which of its blocks are finished."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from tasks.blocks.blockfile import is_finished
from tasks.errors import SegflowError
from tasks.files import writing
from tasks.imagery.protocol import ImageInfo
from tasks.planning.build import build_plan
from tasks.planning.request import Request
from tasks.tiling.area import tiles_by_block
from tasks.work import WorkFolder


@dataclass(frozen=True)
class Planned:
    """A plan on disk.

    Attributes:
        work: Folders of the run.
        todo: Numbers of the blocks still to be computed.
        blocks: Blocks in all; the others are reused.
        tiles: Tiles in all that the run needs; of a preview, fewer than the grid has.
        info: The image's header.
        workers: Blocks in flight in one process.
    """

    work: WorkFolder
    todo: tuple[int, ...]
    blocks: int
    tiles: int
    info: ImageInfo
    workers: int = 2


def plan_item(request: Request) -> Planned:
    """Plans an item and looks up which of its blocks are finished.

    Raises:
        InputError: The image, or its combination with the model, is refused.
        ModelError: The bundle or the engine is refused; only after the image was accepted.
        OutputError: The output folder cannot be written.
    """
    built = build_plan(request)
    plan = built.plan
    if plan.card.roi is not None and plan.region is None:
        raise SegflowError(f"the coarse stage of {plan.card.name} has not run on {plan.image}: run again")
    work = request.work(plan.key())
    if request.force and work.run.exists():
        shutil.rmtree(work.run)
    with writing(work.blocks):
        work.blocks.mkdir(parents=True, exist_ok=True)
    plan.write(work.plan)
    counts = tiles_by_block(plan.grid, plan.tiled_area)
    todo = tuple(n for n in counts if not is_finished(work.blocks, n))
    return Planned(work, todo, len(counts), sum(counts.values()), built.info, plan.workers)
