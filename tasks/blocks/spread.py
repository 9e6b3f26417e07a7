"""The block step on a worker of a cluster: another process, perhaps another machine.

What goes between the machines are paths, numbers and small dataclasses; pixels go through the files that
all machines share.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from segmodels.engines.base import Engine
from tasks.blocks.attempts import LIMIT, Attempts
from tasks.blocks.blockfile import BlockFile, block_path, is_finished
from tasks.blocks.canvas import Canvas
from tasks.blocks.segment import BlockOutcome, segment_block
from tasks.blocks.step import run_block
from tasks.errors import InputError, SegflowError
from tasks.imagery.protocol import Image, ImageInfo, Pixels, Window
from tasks.planning.opened import open_planned
from tasks.planning.plan import RESULT_VERSION, Plan
from tasks.tiling.area import block_tiles
from tasks.work import WorkFolder


@dataclass(frozen=True)
class Attempt:
    """What became of a block on a worker.

    Attributes:
        outcome: None if the block was not tried, since it has killed too many workers.
        deaths: The processes that died while computing it, oldest first.
    """

    outcome: BlockOutcome | None
    deaths: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """Which code a process runs; the run and its workers must agree."""

    segflow: str
    result_version: int


def this_code() -> Code:
    """What this process runs."""
    return Code(version("segflow"), RESULT_VERSION)


def attempt_block(work: WorkFolder, number: int, code: Code) -> Attempt:
    """Segments one block on a worker, unless it is finished or has killed too many workers.

    Args:
        code: What the run's own process runs.

    Raises:
        SegflowError: The worker runs other code or does not see the run's files.
        OutputError: The block's file cannot be written.
        ModelError: The engine cannot be used.
    """
    check_worker(code, work.plan)
    attempts = Attempts(work, number)
    deaths = attempts.deaths()
    if is_finished(work.blocks, number):  # the worker died between the file and its answer
        plan = Plan.load(work.plan)
        tiles = len(block_tiles(plan.grid, plan.grid.block_index(number), plan.tiled_area))
        failures = BlockFile(block_path(work.blocks, number)).failures
        return Attempt(BlockOutcome(number, tiles, tuple(failures)), deaths)
    if len(deaths) >= LIMIT:
        return Attempt(None, deaths)
    with attempts.attempted():
        return Attempt(run_block(work, number), deaths)


def check_worker(code: Code, *paths: Path) -> None:
    """Refuses to work with other code than the run's, or without its files.

    Raises:
        SegflowError: Names the worker's machine, and what to do.
    """
    here = this_code()
    if here != code:
        raise SegflowError(
            f"the worker on {socket.gethostname()} runs segflow {here.segflow} (results {here.result_version}) "
            f"and the run {code.segflow} (results {code.result_version}): install the same version everywhere"
        )
    for path in paths:
        if not path.exists():
            raise InputError(
                f"the worker on {socket.gethostname()} does not see {path}: image, model and --out must lie "
                "where all workers find them under the same path, as on a shared disk"
            )


def lose_block(work: WorkFolder, number: int, deaths: tuple[str, ...]) -> BlockOutcome:
    """Leaves the file of a block that is given up: all its tiles failed, and why.

    Args:
        deaths: The processes that died while computing it; may be fewer than were seen to die.

    Raises:
        OutputError: The file cannot be written.
    """
    plan = Plan.load(work.plan)
    last = f", the last of them {deaths[-1]}" if deaths and deaths[-1] else ""
    reason = (
        f"block {number} killed its worker {max(len(deaths), LIMIT)} times{last}; where memory is the cause, "
        "a smaller --block or --tile, or fewer --workers help"
    )
    image = open_planned(plan, scratch=work.scratch)
    try:
        unread: Image = Unread(image.info, reason)
        # No tile can be read, so the engine is never asked.
        engine = cast(Engine, None)
        with _without_a_line_per_tile():
            return segment_block(plan, number, image=unread, engine=engine, directory=work.blocks)
    finally:
        image.close()


@contextmanager
def _without_a_line_per_tile() -> Iterator[None]:
    """The caller says once that the block is lost."""
    loggers = [logging.getLogger(m) for m in (segment_block.__module__, Canvas.__module__)]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger in loggers:
            logger.disabled = False


@dataclass(frozen=True)
class Unread:
    """An image of which no pixel can be read; see ``Image``."""

    info: ImageInfo
    reason: str

    def read(self, window: Window) -> Pixels:
        raise InputError(self.reason)

    def close(self) -> None:
        """Nothing is open."""


def worker_facts(code: Code, paths: tuple[Path, ...], dask_worker: Any) -> tuple[int, int]:
    """Asked of every worker of a cluster before the run: may it help, and how much?

    Args:
        code: What the run's own process runs.
        paths: What the worker must see.
        dask_worker: The worker itself, which Dask passes in.

    Returns:
        How many blocks it computes at once, and how many GPUs it declares (``--resources GPU=1``).

    Raises:
        SegflowError: It runs other code or does not see the files.
    """
    check_worker(code, *paths)
    return int(dask_worker.state.nthreads), int(dask_worker.state.total_resources.get("GPU", 0))
