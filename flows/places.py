"""Where blocks are computed: in threads of this process, or on the workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from flows.runner_names import THREADS, scheduler_address
from tasks.blocks.segment import BlockOutcome
from tasks.blocks.step import run_block
from tasks.planning.request import Request
from tasks.planning.step import Planned, plan_item
from tasks.work import WorkFolder


class Place(Protocol):
    """Computes plans and blocks; every method may be called from several threads."""

    def plan(self, request: Request) -> Planned:
        """Plans where the blocks will run, so that the engine is chosen there."""
        ...

    def begin(self, work: WorkFolder) -> None:
        """Called once, before a run's first block."""
        ...

    def slots(self) -> int:
        """How many blocks should be in flight now."""
        ...

    def segment(self, work: WorkFolder, number: int) -> BlockOutcome:
        """Segments one block and waits for it."""
        ...

    def close(self) -> None:
        """Ends what was started for the run; may be called again."""
        ...


class Threads:
    """Blocks in threads of this process: reading and writing overlap the model.

    Args:
        workers: Blocks at once.
    """

    def __init__(self, workers: int) -> None:
        self._workers = self._slots = workers

    def plan(self, request: Request) -> Planned:
        planned = plan_item(request)
        self._slots = min(self._workers, planned.workers)  # fewer where memory is short
        return planned

    def begin(self, work: WorkFolder) -> None:
        """Nothing to prepare."""

    def slots(self) -> int:
        return self._slots

    def segment(self, work: WorkFolder, number: int) -> BlockOutcome:
        return run_block(work, number)

    def close(self) -> None:
        """Nothing to end."""


@contextmanager
def opened_place(runner: str, *, workers: int) -> Iterator[Place]:
    """The place that ``--runner`` names, closed after the body.

    Raises:
        UsageError: There is no such runner.
    """
    address = scheduler_address(runner)
    place: Place
    if runner == THREADS:
        place = Threads(workers)
    else:
        from flows.dask_place import DaskPlace

        place = DaskPlace(address, workers=workers)
    try:
        yield place
    finally:
        place.close()
