"""How steps are called: as plain functions, or as Prefect tasks; the steps are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Protocol, TypeVar

from tasks.blocks.segment import BlockOutcome
from tasks.blocks.step import run_block
from tasks.planning.step import Planned, plan_item
from tasks.publishing.step import publish_item
from tasks.regions.step import measure_item
from tasks.reports.step import report_item
from tasks.stitching.step import stitch_item

T = TypeVar("T")


class Runner(Protocol):
    """Calls steps."""

    def call(self, step: Callable[..., T], *args: Any) -> T:
        """Runs one step to its end."""
        ...

    def blocks(self, planned: Planned, *, workers: int) -> Iterator[BlockOutcome]:
        """Runs the blocks still to do, a bounded number in flight; yields them as they finish."""
        ...


class DirectRunner:
    """Plain functions and threads, without any server."""

    def call(self, step: Callable[..., T], *args: Any) -> T:
        """See :class:`Runner`."""
        return step(*args)

    def blocks(self, planned: Planned, *, workers: int) -> Iterator[BlockOutcome]:
        """See :class:`Runner`."""
        with ThreadPoolExecutor(workers) as pool:
            yield from bounded(
                lambda number: pool.submit(run_block, planned.work, number),
                planned.todo,
                limit=2 * workers,
                wait_any=_wait_threads,
            )


def _wait_threads(futures: list[Future[BlockOutcome]]) -> Future[BlockOutcome]:
    return next(iter(wait(futures, return_when=FIRST_COMPLETED).done))


F = TypeVar("F")


def bounded(
    submit: Callable[[int], F],
    numbers: tuple[int, ...],
    *,
    limit: int,
    wait_any: Callable[[list[F]], F],
) -> Iterator[Any]:
    """Keeps up to ``limit`` futures in flight and yields results as they come.

    The first block that raises stops the submission of more; its error is raised after
    those in flight have ended, so that nothing finished is lost.
    """
    waiting = list(numbers)
    flying: list[F] = []
    error: BaseException | None = None
    while flying or (waiting and error is None):
        while waiting and error is None and len(flying) < limit:
            flying.append(submit(waiting.pop(0)))
        done = wait_any(flying)
        flying.remove(done)
        try:
            result = done.result()  # type: ignore[attr-defined]
        except Exception as reason:
            error = error or reason
            continue
        yield result
    if error is not None:
        raise error


class PrefectRunner:
    """Each step a task run of the surrounding flow run."""

    def call(self, step: Callable[..., T], *args: Any) -> T:
        """See :class:`Runner`."""
        result: T = _faces()[step](*args)
        return result

    def blocks(self, planned: Planned, *, workers: int) -> Iterator[BlockOutcome]:
        """See :class:`Runner`."""
        face = _faces()[run_block]
        yield from bounded(
            lambda number: face.with_options(task_run_name=f"block-{number}").submit(planned.work, number),
            planned.todo,
            limit=workers,  # the flow's pool is wider: what is submitted runs at once
            wait_any=_wait_prefect,
        )


def _wait_prefect(futures: list[Any]) -> Any:
    from prefect.futures import as_completed

    return next(iter(as_completed(futures)))


def _faces() -> dict[Callable[..., Any], Any]:
    from tasks.blocks.task import run_block_task
    from tasks.planning.task import plan_item_task
    from tasks.publishing.task import publish_item_task
    from tasks.regions.task import measure_item_task
    from tasks.reports.task import report_item_task
    from tasks.stitching.task import stitch_item_task

    return {
        plan_item: plan_item_task,
        run_block: run_block_task,
        stitch_item: stitch_item_task,
        measure_item: measure_item_task,
        report_item: report_item_task,
        publish_item: publish_item_task,
    }
