"""The stitch step: block files in, the mask file out."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from tasks.blocks.blockfile import TileFailure
from tasks.errors import SegflowError
from tasks.files import writing
from tasks.imagery.writers import create_mask, mask_name
from tasks.planning.plan import RESULT_VERSION, Plan
from tasks.postprocess.step import open_finished
from tasks.previews.area import open_seen
from tasks.stitching.audit import SeamAudit, join_seams
from tasks.stitching.open import open_stitch
from tasks.stitching.stitch import write_mask
from tasks.tiling.area import tiles_by_block
from tasks.tiling.roi import wanted
from tasks.work import WorkFolder


@dataclass(frozen=True)
class Stitched:
    """What the stitch says of a run besides its mask.

    Attributes:
        failures: Tiles that failed.
        seams: How much neighbouring tiles disagree.
    """

    failures: tuple[TileFailure, ...]
    seams: SeamAudit


def empty_result(work: WorkFolder) -> None:
    """Makes the folder for what will be published, without what an interrupted run left in it.

    Raises:
        OutputError: It cannot be made.
    """
    with writing(work.result):
        if work.result.exists():
            shutil.rmtree(work.result)
        work.result.mkdir(parents=True)


def stitch_item(work: WorkFolder) -> Stitched:
    """Writes the mask of a run whose blocks are finished into its empty result folder.

    Raises:
        SegflowError: Every tile failed, so there is nothing to publish.
        OutputError: The mask cannot be written.
    """
    plan = Plan.load(work.plan)
    image = open_seen(plan, scratch=work.scratch)
    try:
        stitch = open_stitch(plan, work)
        failures = stitch.failures()
        if _all_failed(plan, failures):
            raise SegflowError(f"every tile of {plan.image} failed, the first because: {failures[0].reason}")
        writer = create_mask(
            image.info,
            work.result / mask_name(image.info),
            classes=plan.card.classes,
            wide=plan.card.wide,
            tags=mask_tags(plan),
        )
        write_mask(open_finished(plan, work), writer)
        seams = join_seams(plan, work.blocks, axes=image.info.axes)
    finally:
        image.close()
    return Stitched(tuple(failures), seams)


def _all_failed(plan: Plan, failures: list[TileFailure]) -> bool:
    """Whether not one tile was predicted that the model had to see."""
    if plan.roi is None:
        return len(failures) == sum(tiles_by_block(plan.grid, plan.tiled_area).values())
    seen = sum(wanted(plan.grid, f.tile, plan.tiled_roi) for f in failures)
    return 0 < seen == plan.region_tiles


def mask_tags(plan: Plan) -> dict[str, str]:
    """Only what determines the mask, so that equal masks are equal files."""
    return {
        "SEGFLOW_INPUT": plan.image_digest,
        "SEGFLOW_BUNDLE": f"{plan.card.name} {plan.card.version} {plan.bundle_digest}",
        "SEGFLOW_PARAMETERS": plan.parameters.digest(),
        "SEGFLOW_RESULT_VERSION": str(RESULT_VERSION),
    }
