"""Showing progress: a bar on a terminal, plain lines elsewhere, and whoever else listens."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from tasks.imagery.open import describe
from tasks.planning.amount import say_bytes
from tasks.reports.words import number_of

if TYPE_CHECKING:
    from flows.pipeline import Progress
    from tasks.planning.plan import Plan
    from tasks.planning.step import Planned

logger = logging.getLogger("segflow")

#: The progress display of the process that starts a flow; a flow on a worker has none.
_display: ContextVar[Progress | None] = ContextVar("display", default=None)

STAGES = {
    "plan": "reading the image once for its statistics",
    "coarse": "finding the region of interest",
    "segment": "segmenting",
    "postprocess": "post-processing the mask",
    "stitch": "stitching the mask",
    "regions": "measuring regions",
    "vectors": "making polygons",
    "probabilities": "writing probabilities",
    "report": "drawing the report",
    "publish": "publishing",
}


class Quiet:
    """Shows nothing."""

    def stage(self, name: str) -> None: ...

    def planned(self, planned: Planned, plan: Plan) -> None: ...

    def block(self) -> None: ...

    def published(self, folder: Path, record: dict[str, Any]) -> None: ...


class Lines(Quiet):
    """A log line per step, for files and schedulers."""

    def stage(self, name: str) -> None:
        logger.info("%s", STAGES[name])

    def planned(self, planned: Planned, plan: Plan) -> None:
        logger.info("%s", plan_sentence(planned, plan))

    def published(self, folder: Path, record: dict[str, Any]) -> None:
        logger.info("%s: %s", record["status"], folder)


class Terminal(Quiet):
    """A bar per stage on a terminal."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task = bar.add_task("starting", total=None)
        self._blocks = (0, 0)

    def stage(self, name: str) -> None:
        done, total = self._blocks if name in ("coarse", "segment") else (0, 0)
        self._bar.update(self._task, description=STAGES[name], total=total or None, completed=done)

    def planned(self, planned: Planned, plan: Plan) -> None:
        self._bar.console.print(plan_sentence(planned, plan), style="dim", highlight=False)
        self._blocks = (planned.blocks - len(planned.todo), planned.blocks)
        self._bar.update(self._task, completed=self._blocks[0], total=self._blocks[1])

    def block(self) -> None:
        self._bar.advance(self._task)

    def published(self, folder: Path, record: dict[str, Any]) -> None:
        self._bar.update(self._task, description="published", total=1, completed=1)


class Several:
    """Tells several."""

    def __init__(self, *listeners: Progress) -> None:
        self._listeners = listeners

    def stage(self, name: str) -> None:
        for listener in self._listeners:
            listener.stage(name)

    def planned(self, planned: Planned, plan: Plan) -> None:
        for listener in self._listeners:
            listener.planned(planned, plan)

    def block(self) -> None:
        for listener in self._listeners:
            listener.block()

    def published(self, folder: Path, record: dict[str, Any]) -> None:
        for listener in self._listeners:
            listener.published(folder, record)


def plan_sentence(planned: Planned, plan: Plan) -> str:
    """What will be done, in one line."""
    reused = planned.blocks - len(planned.todo)
    region = "" if plan.region is None else f", {plan.region_tiles} of them in the region of interest,"
    kept = f", {reused} of them finished earlier and reused" if reused else ""
    return (
        f"{describe(planned.info)}: {number_of(planned.tiles, 'tile')} of {'×'.join(map(str, plan.tile))}{region} in "
        f"{planned.blocks} block{'s' * (planned.blocks != 1)}{kept}; {plan.library}, {plan.precision}; "
        f"at most {say_bytes(plan.peak_memory_bytes)} of memory and {say_bytes(plan.disk_bytes)} of disk"
    )


@contextmanager
def shown(console: Console) -> Iterator[Progress]:
    """A display for the block: a bar if the console is a terminal, else log lines."""
    if not console.is_terminal:
        with _displaying(Lines()) as lines:
            yield lines
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True) as bar, _displaying(Terminal(bar)) as terminal:
        yield terminal


@contextmanager
def _displaying(display: Progress) -> Iterator[Progress]:
    token = _display.set(display)
    try:
        yield display
    finally:
        _display.reset(token)


def attached(progress: Progress) -> Progress:
    """``progress``, and the display of this process if it shows one."""
    display = _display.get()
    return Several(display, progress) if display else progress
