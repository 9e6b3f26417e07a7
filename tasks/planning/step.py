"""The plan step: from a request to a plan on disk, and which of its blocks are finished."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from segmodels.bundles.bundle import load_bundle
from tasks.blocks.blockfile import is_finished
from tasks.blocks.session import engine_for
from tasks.errors import SegflowError
from tasks.files import writing
from tasks.imagery.protocol import ImageInfo
from tasks.planning.make import make_plan
from tasks.planning.preflight import drop_scratch, open_input
from tasks.planning.preview import find_area
from tasks.planning.request import Request
from tasks.publishing.digests import input_digest
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
    """

    work: WorkFolder
    todo: tuple[int, ...]
    blocks: int
    tiles: int
    info: ImageInfo


def plan_item(request: Request) -> Planned:
    """Plans an item and looks up which of its blocks are finished.

    Raises:
        InputError: The image, or its combination with the model, is refused.
        ModelError: The bundle or the engine is refused; only after the image was accepted.
        OutputError: The output folder cannot be written.
    """
    bundle = load_bundle(request.model)
    digest = input_digest(request.image)
    try:
        image = open_input(request, bundle)
        plan = make_plan(
            image,
            item=request.item,
            image_digest=digest,
            bundle=bundle.path,
            bundle_digest=bundle.digest,
            card=bundle.card,
            parameters=request.parameters,
            block=request.block,
            workers=request.workers,
            folder=request.work().scratch,
            area=find_area(request, image.info),
        )
    except SegflowError:
        drop_scratch(request)
        raise
    image.close()
    engine = engine_for(plan)
    plan = plan.model_copy(
        update={"engine": engine.name, "precision": engine.precision, "library": engine.library}
    )
    work = request.work(plan.key())
    if request.force and work.run.exists():
        shutil.rmtree(work.run)
    with writing(work.blocks):
        work.blocks.mkdir(parents=True, exist_ok=True)
    plan.write(work.plan)
    counts = tiles_by_block(plan.grid, plan.area)
    todo = tuple(n for n in counts if not is_finished(work.blocks, n))
    return Planned(work, todo, len(counts), sum(counts.values()), image.info)
