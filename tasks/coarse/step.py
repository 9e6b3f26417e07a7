"""The step that ends the coarse stage: from its finished blocks to the region of interest."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tasks.blocks.stepdown import read_notes
from tasks.coarse.asked import Coarse
from tasks.coarse.dilate import dilated_area, write_found
from tasks.coarse.price import cost_of
from tasks.codes import codes_of
from tasks.errors import SegflowError
from tasks.files import writing
from tasks.planning.plan import Plan
from tasks.planning.region import Region
from tasks.postprocess.step import open_finished, remove_flat
from tasks.stitching.audit import join_seams, seam_suspicions
from tasks.stitching.open import open_stitch
from tasks.tiling.area import tiles_by_block
from tasks.work import WorkFolder

_FOUND = "found.npy"
_AXES = ("t", "z", "y", "x")


def locate_region(work: WorkFolder, coarse: Coarse) -> Region:
    """Joins the coarse stage's blocks, one band at a time, and leaves the region beside them.

    What its failed tiles cover counts as region: the fine stage looks where the coarse one could not. The blocks are
    removed once the region is on the disk.

    Raises:
        SegflowError: Every tile failed.
        OutputError: The region cannot be written.
    """
    plan = Plan.load(work.plan)
    failures = open_stitch(plan, work).failures()
    tiles = sum(tiles_by_block(plan.grid, plan.tiled_area).values())
    if len(failures) == tiles:
        raise SegflowError(
            f"every tile of the coarse stage {plan.card.name} failed on {plan.image}, the first because: "
            f"{failures[0].reason}"
        )
    low, high = plan.bounds
    found = write_found(_marked(plan, work, coarse.roi.classes), low, high, work.run / _FOUND)
    with writing(work.run):
        area, pixels = dilated_area(
            found,
            coarse.shape,
            margin=coarse.margin,
            coarsen=coarse.coarsen,
            wraps=coarse.wraps,
            folder=work.run,
        )
    seams = join_seams(plan, work.blocks, axes=_AXES[-len(coarse.shape) :])
    region = Region(
        image_digest=coarse.image_digest,
        bundle_digest=coarse.bundle_digest,
        asked=coarse.asked,
        roi=coarse.roi,
        name=plan.card.name,
        version=plan.card.version,
        digest=plan.bundle_digest,
        engine=plan.engine,
        precision=plan.precision,
        library=plan.library,
        area=area,
        pixels=pixels,
        found=found.count,
        tiles=tiles,
        failures=len(failures),
        first_failure=failures[0].reason if failures else "",
        notes=(*plan.notes, *read_notes(work.run)),
        suspicions=(*plan.suspicions, *seam_suspicions(seams, plan.card.seams)),
        cost=cost_of(plan, coarse),
        folder=work.run.absolute(),
    )
    region.write()
    remove_flat(work)
    (work.run / _FOUND).unlink(missing_ok=True)
    shutil.rmtree(work.blocks, ignore_errors=True)
    return region


def _marked(plan: Plan, work: WorkFolder, classes: tuple[str, ...]) -> Iterator[npt.NDArray[np.bool_]]:
    """Band by band, which pixels have one of the classes, or none because their tile failed."""
    codes = codes_of(plan.card)
    table = np.zeros(1 << (8 * codes.dtype.itemsize), bool)
    table[[*(c.code for c in plan.card.classes if c.name in classes), codes.failed]] = True
    for band in open_finished(plan, work).bands():
        yield table[band.codes]
