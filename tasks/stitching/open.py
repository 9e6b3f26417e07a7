"""The stitch of a run: on the image's own pixels, or from the lattice of its model back to them."""

from __future__ import annotations

from functools import partial

from tasks.planning.opened import open_native
from tasks.planning.plan import Plan
from tasks.stitching.native import NativeStitch
from tasks.stitching.stitch import Stitch, Stitching
from tasks.work import WorkFolder


def open_stitch(plan: Plan, work: WorkFolder) -> Stitching:
    """The stitch of a run, a band as high as planned."""
    if plan.resampling is None:
        return Stitch(plan, work.blocks, rows=plan.stitch_rows)
    image = partial(open_native, plan, scratch=work.scratch)
    return NativeStitch(plan, work.blocks, rows=plan.stitch_rows, image=image)
