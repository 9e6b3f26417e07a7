"""How often a block has killed its worker: a small file per attempt, left behind only by a process that died.

The scheduler blames a dead worker's whole queue and forgets with its own restart; these files name the one
block that was being computed, wherever the workers run.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tasks.files import writing
from tasks.work import WorkFolder

#: A block that killed this many workers is not tried again in the same run.
LIMIT = 3


@dataclass(frozen=True)
class Attempts:
    """The attempts at one block of a run.

    Attributes:
        work: Folders of the run.
        number: The block.
    """

    work: WorkFolder
    number: int

    def deaths(self) -> tuple[str, ...]:
        """The processes that died while computing this block, oldest first.

        Only meaningful while nobody is computing it.
        """
        return tuple(path.read_text() for path in self._files())

    @contextmanager
    def attempted(self) -> Iterator[None]:
        """Stands as a death for as long as the body runs, and for good if this process dies in it.

        Raises:
            OutputError: The folder cannot be written.
        """
        folder = _folder(self.work)
        with writing(folder):
            folder.mkdir(exist_ok=True)
            mine = folder / f"{self._stem}{len(self._files())}"
            mine.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        try:
            yield
        finally:
            mine.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return sorted(_folder(self.work).glob(f"{self._stem}*"))

    @property
    def _stem(self) -> str:
        return f"block-{self.number:08d}."


def forget_attempts(work: WorkFolder) -> None:
    """Every block gets its attempts anew; called when a run begins, since it owns its folder."""
    shutil.rmtree(_folder(work), ignore_errors=True)


def _folder(work: WorkFolder) -> Path:
    return work.run / "attempts"
