"""The coarse stage of a two-stage bundle: its blocks run as any run's do, and end in a region of interest."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flows.pipeline import Progress
    from flows.runner import Runner
    from tasks.coarse.asked import Coarse
    from tasks.planning.request import Request


def coarse_stage(request: Request) -> Coarse | None:
    """The coarse stage that a request needs first; None for one stage, or where its region is there already.

    Raises:
        InputError, ModelError, OutputError: See :func:`tasks.coarse.region_of.find_coarse`.
    """
    from tasks.coarse.region_of import find_coarse, held_region

    coarse = find_coarse(request)
    if coarse is None or request.force:
        return coarse
    held = held_region(request.work().root, coarse)
    # What failed is tried again.
    return coarse if held is None or held.failures else None


def run_coarse(coarse: Coarse, *, runner: Runner, progress: Progress) -> None:
    """Plans, segments and joins the coarse stage; finished blocks of an interrupted run are reused.

    Raises:
        SegflowError, ModelError: One sentence with the remedy.
    """
    from tasks.blocks.session import close_sessions
    from tasks.coarse.step import locate_region
    from tasks.planning.plan import Plan
    from tasks.planning.step import plan_item
    from tasks.postprocess.step import postprocess_item

    planned = runner.call(plan_item, coarse.request)
    plan = Plan.load(planned.work.plan)
    progress.planned(planned, plan)
    try:
        for _ in runner.blocks(planned, last=False):
            progress.block()
    finally:
        close_sessions()
    if plan.card.postprocess:
        runner.call(postprocess_item, planned.work)
    runner.call(locate_region, planned.work, coarse)
