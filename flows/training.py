"""What the command and the flow of a training share: its configuration, and who is told how it goes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from tasks.training.config import Config, read_config
from tasks.training.outcome import Progress
from tasks.training.recipes import find_config

logger = logging.getLogger("segflow")
#: Seconds between two lines of a training's log.
_EVERY = 30.0

_display: ContextVar[Progress | None] = ContextVar("training display", default=None)


def make_config(config: str, *, dataset: Path | None = None) -> Config:
    """Reads a file or a recipe, with another data set if one is given.

    Raises:
        UsageError: There is none, or it says something unknown.
    """
    read = read_config(find_config(config))
    if dataset is None:
        return read
    return read.model_copy(update={"data": read.data.model_copy(update={"path": dataset})})


class Lines:
    """A log line per stage, and one now and then while it trains."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def stage(self, sentence: str) -> None:
        logger.info("%s", sentence)

    def step(self, done: float, step: int, loss: float) -> None:
        if time.monotonic() - self._last >= _EVERY:
            self._last = time.monotonic()
            logger.info("step %d, %.0f %%, loss %.4f", step, 100 * done, loss)


class Terminal:
    """A bar on a terminal."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task = bar.add_task("starting", total=None)

    def stage(self, sentence: str) -> None:
        self._bar.update(self._task, description=sentence, total=None)

    def step(self, done: float, step: int, loss: float) -> None:
        text = f"training, step {step}, loss {loss:.3f}"
        self._bar.update(self._task, description=text, total=1.0, completed=done)


@contextmanager
def displayed(console: Console) -> Iterator[Progress]:
    """A display for the block, which a flow inside it uses too."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        display: Progress = Terminal(bar) if console.is_terminal else Lines()
        token = _display.set(display)
        try:
            yield display
        finally:
            _display.reset(token)


def shown() -> Progress:
    """The display of this process; on a worker, log lines."""
    return _display.get() or Lines()
