"""The method: plan, segment blocks, stitch, measure regions, report, publish."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from flows.coarse import coarse_stage, run_coarse
from tasks.errors import OwnedError
from tasks.planning.preflight import find_done
from tasks.planning.request import Request
from tasks.publishing.leftovers import leftovers, remove_leftovers
from tasks.publishing.ownership import owned
from tasks.vectors.step import missing_vectors

if TYPE_CHECKING:
    from flows.runner import Runner
    from tasks.planning.plan import Plan
    from tasks.planning.step import Planned


@dataclass(frozen=True)
class RunResult:
    """What a run says of itself (also the object that ``--json`` prints).

    Attributes:
        status: *done*, *partial* or *suspect*.
        item: The item's id.
        out: Its folder.
        seconds: Wall time of this call.
        already_done: Nothing was computed, since this very result was published before.
        blocks: Blocks of the plan.
        reused_blocks: Of these, finished by an earlier run.
        failed_tiles: Tiles that could not be predicted.
        warnings: Sentences a user should read.
        notes: Those of them that cast no doubt on the result.
    """

    status: str
    item: str
    out: Path
    seconds: float
    already_done: bool
    blocks: int
    reused_blocks: int
    failed_tiles: int
    warnings: tuple[str, ...] = field(default_factory=tuple)
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def exit_code(self) -> int:
        """For scripts: 0 done, 4 partial, 5 suspect."""
        return {"done": 0, "partial": 4, "suspect": 5}[self.status]

    def as_json(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            **asdict(self),
            "out": str(self.out),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


class Progress(Protocol):
    """Told what happens, to show it to somebody."""

    def stage(self, name: str) -> None: ...

    def planned(self, planned: Planned, plan: Plan) -> None: ...

    def block(self) -> None: ...

    def published(self, folder: Path, record: dict[str, Any]) -> None: ...


def already_done(request: Request) -> RunResult | None:
    """The answer, if exactly this result is published already.

    Raises:
        InputError, ModelError: See :func:`tasks.planning.preflight.find_done`.
    """
    begin = time.perf_counter()
    record = find_done(request)  # asked even with --force: it refuses another input's item
    if record is None or request.force or missing_vectors(request.outputs, record):
        return None
    left = leftovers(request.work(), record)
    if left:
        with suppress(OwnedError), owned(request.work().root, item=request.item):
            remove_leftovers(left)
    return _result_of(record, request, begin, already_done=True)


def _result_of(record: dict[str, Any], request: Request, begin: float, *, already_done: bool) -> RunResult:
    """What a published record says."""
    return RunResult(
        status=record["status"],
        item=request.item,
        out=request.work().final,
        seconds=round(time.perf_counter() - begin, 3),
        already_done=already_done,
        blocks=record["blocks"]["total"],
        reused_blocks=record["blocks"]["total"],
        failed_tiles=record["failed_tile_count"],
        warnings=tuple(record["warnings"]),
        notes=tuple(record.get("notes", ())),
    )


def run_item(request: Request, *, runner: Runner, progress: Progress) -> RunResult:
    """Segments one item from beginning to end, or continues where an earlier run stopped.

    Raises:
        SegflowError, ModelError: One sentence with the remedy; nothing is published.
    """
    # Not before they are needed: what is done already, or refused, is told without loading them.
    from tasks.blocks.session import close_sessions
    from tasks.planning.estimate import Pace
    from tasks.planning.plan import Plan
    from tasks.planning.step import plan_item
    from tasks.postprocess.step import postprocess_item
    from tasks.probabilities.step import probabilities_item
    from tasks.publishing.record import build_record
    from tasks.publishing.step import publish_item
    from tasks.regions.step import measure_item
    from tasks.reports.step import report_item
    from tasks.stitching.step import empty_result, stitch_item
    from tasks.vectors.step import add_vectors, vectorise_item

    begin, started = time.perf_counter(), datetime.now(UTC)
    timings: dict[str, float] = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        progress.stage(name)
        start = time.perf_counter()
        yield
        timings[name] = time.perf_counter() - start

    done = already_done(request)
    if done is not None:
        return done
    with owned(request.work().root, item=request.item):
        done = already_done(request)  # another run may have ended in the meantime
        if done is not None:
            return done
        record = None if request.force else find_done(request)
        if record is not None:
            # Only polygons are wanting, which the published mask gives.
            with stage("vectors"):
                record = runner.call(add_vectors, request.work(), request.outputs, record)
            progress.published(request.work().final, record)
            return _result_of(record, request, begin, already_done=False)
        coarse = coarse_stage(request)
        if coarse is not None:
            with stage("coarse"):
                run_coarse(coarse, runner=runner, progress=progress)
        with stage("plan"):
            planned = runner.call(plan_item, request)
        work, plan = planned.work, Plan.load(planned.work.plan)
        progress.planned(planned, plan)
        with stage("segment"):
            first = time.perf_counter()
            ended = []
            try:
                for outcome in runner.blocks(planned):
                    ended.append((time.perf_counter() - first, outcome.tiles))
                    progress.block()
            finally:
                close_sessions()
        if plan.card.postprocess:
            with stage("postprocess"):
                runner.call(postprocess_item, work)
        # Neither needs the other: together they keep both hands busy. What the regions take longer is theirs.
        empty_result(work)
        with runner.beside(measure_item, work) as measured:
            with stage("stitch"):
                stitched = runner.call(stitch_item, work)
            with stage("regions"):
                scan = measured.result()
        vectors = probabilities = None
        if plan.probabilities != "none":
            with stage("probabilities"):
                probabilities = runner.call(probabilities_item, work)
        if request.outputs.vectors:
            with stage("vectors"):
                vectors = runner.call(vectorise_item, work, request.outputs)
        with stage("report"):
            record = build_record(
                request,
                planned,
                plan,
                planned.info,
                failures=stitched.failures,
                seams=stitched.seams,
                timings=timings,
                started=started,
                finished=datetime.now(UTC),
                pace=Pace(tuple(ended), workers=plan.workers, scan=scan),
            )
            if vectors is not None:
                record["vectors"] = vectors
            if probabilities is not None:
                record["probabilities"] = probabilities
            record["warnings"] += runner.call(report_item, work, record)
        progress.stage("publish")
        record["timings"]["report"] = round(timings["report"], 3)
        runner.call(publish_item, work, record)
        progress.published(work.final, record)
    return RunResult(
        status=record["status"],
        item=request.item,
        out=work.final,
        seconds=round(time.perf_counter() - begin, 3),
        already_done=False,
        blocks=planned.blocks,
        reused_blocks=planned.blocks - len(planned.todo),
        failed_tiles=len(stitched.failures),
        warnings=tuple(record["warnings"]),
        notes=tuple(record["notes"]),
    )
