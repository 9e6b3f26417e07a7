"""How steps are called: as plain functions, or as Prefect tasks; the steps are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeVar

from flows.places import Place
from tasks.blocks.segment import BlockOutcome
from tasks.coarse.step import locate_region
from tasks.planning.step import Planned, plan_item
from tasks.postprocess.step import postprocess_item
from tasks.probabilities.step import probabilities_item
from tasks.publishing.step import publish_item
from tasks.regions.step import measure_item
from tasks.reports.step import report_item
from tasks.stitching.step import stitch_item
from tasks.vectors.step import add_vectors, vectorise_item

#: Threads that wait for blocks, if ever so many are in flight; they are made when needed.
MOST_IN_FLIGHT = 256

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Result(Protocol[T_co]):
    """What a step that runs beside others will give."""

    def result(self) -> T_co:
        """Waits for it; raises what the step raised."""
        ...


class Runner(Protocol):
    """Calls steps."""

    def call(self, step: Callable[..., T], *args: Any) -> T:
        """Runs one step to its end."""
        ...

    def beside(self, step: Callable[..., T], *args: Any) -> AbstractContextManager[Result[T]]:
        """Runs one step while the body runs others; it has ended when the body is left."""
        ...

    def blocks(self, planned: Planned, *, last: bool = True) -> Iterator[BlockOutcome]:
        """Runs the blocks still to do, a bounded number in flight; yields them as they finish.

        Args:
            last: Whether no more blocks will follow, so that what computes them may end.
        """
        ...


class DirectRunner:
    """Plain functions, without any server.

    Args:
        place: Where plan and blocks are computed.
    """

    def __init__(self, place: Place) -> None:
        self._place = place

    def call(self, step: Callable[..., T], *args: Any) -> T:
        """See :class:`Runner`."""
        chosen: Callable[..., Any] = self._place.plan if step is plan_item else step
        result: T = chosen(*args)
        return result

    @contextmanager
    def beside(self, step: Callable[..., T], *args: Any) -> Iterator[Result[T]]:
        """See :class:`Runner`."""
        with ThreadPoolExecutor(1, thread_name_prefix="beside") as pool:
            yield pool.submit(step, *args)

    def blocks(self, planned: Planned, *, last: bool = True) -> Iterator[BlockOutcome]:
        """See :class:`Runner`."""
        place = self._place
        place.begin(planned.work)
        with ThreadPoolExecutor(MOST_IN_FLIGHT) as pool:
            yield from bounded(
                lambda number: pool.submit(place.segment, planned.work, number),
                planned.todo,
                limit=place.slots,
                wait_any=_wait_threads,
            )
        if last:
            place.close()


def _wait_threads(futures: list[Future[BlockOutcome]]) -> Future[BlockOutcome]:
    return next(iter(wait(futures, return_when=FIRST_COMPLETED).done))


F = TypeVar("F")


def bounded(
    submit: Callable[[int], F],
    numbers: tuple[int, ...],
    *,
    limit: Callable[[], int],
    wait_any: Callable[[list[F]], F],
) -> Iterator[Any]:
    """Keeps up to ``limit()`` futures in flight and yields results as they come.

    The first block that raises stops the submission of more; its error is raised after
    those in flight have ended, so that nothing finished is lost.
    """
    waiting = list(numbers)
    flying: list[F] = []
    error: BaseException | None = None
    while flying or (waiting and error is None):
        while waiting and error is None and len(flying) < min(limit(), MOST_IN_FLIGHT):
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
    """Each step a task run of the surrounding flow run.

    A task run lives in the flow's own process and waits for its block: workers of a cluster then need
    neither Prefect nor a way to its server, and the state of a block whose worker died is still told.

    Args:
        place: Where plan and blocks are computed.
    """

    def __init__(self, place: Place) -> None:
        self._place = place

    def call(self, step: Callable[..., T], *args: Any) -> T:
        """See :class:`Runner`."""
        result: T = _faces(self._place)[step](*args)
        return result

    @contextmanager
    def beside(self, step: Callable[..., T], *args: Any) -> Iterator[Result[T]]:
        """See :class:`Runner`."""
        future = _faces(self._place)[step].submit(*args)
        try:
            yield future
        finally:
            future.wait()

    def blocks(self, planned: Planned, *, last: bool = True) -> Iterator[BlockOutcome]:
        """See :class:`Runner`."""
        from tasks.blocks.task import segment_block_task

        place = self._place
        place.begin(planned.work)
        face = segment_block_task(place.segment)
        yield from bounded(
            lambda number: face.with_options(task_run_name=f"block-{number}").submit(planned.work, number),
            planned.todo,
            limit=place.slots,  # the flow's pool is wider: what is submitted runs at once
            wait_any=_wait_prefect,
        )
        if last:
            place.close()


def _wait_prefect(futures: list[Any]) -> Any:
    from prefect.futures import as_completed

    return next(iter(as_completed(futures)))


def _faces(place: Place) -> dict[Callable[..., Any], Any]:
    from tasks.coarse.task import locate_region_task
    from tasks.planning.task import plan_item_task
    from tasks.postprocess.task import postprocess_item_task
    from tasks.probabilities.task import probabilities_item_task
    from tasks.publishing.task import publish_item_task
    from tasks.regions.task import measure_item_task
    from tasks.reports.task import report_item_task
    from tasks.stitching.task import stitch_item_task
    from tasks.vectors.task import add_vectors_task, vectorise_item_task

    return {
        plan_item: plan_item_task(place.plan),
        locate_region: locate_region_task,
        postprocess_item: postprocess_item_task,
        stitch_item: stitch_item_task,
        measure_item: measure_item_task,
        vectorise_item: vectorise_item_task,
        probabilities_item: probabilities_item_task,
        add_vectors: add_vectors_task,
        report_item: report_item_task,
        publish_item: publish_item_task,
    }
