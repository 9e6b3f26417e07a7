"""A peer's process, which answers one line for each line it is sent, so that ours can take turns with it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.command import environment, last_words
from benchmarks.harness import ROOT, Settings


class Peer:
    """A running peer.

    Attributes:
        about: What it said first.
    """

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process, self._log = process, log
        self.about = self._answer()

    def ask(self, line: str) -> dict[str, Any]:
        """Sends a line and waits for the answer.

        Raises:
            RuntimeError: The process ended, or answered with an error.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                if "error" in answer:
                    raise RuntimeError(answer["error"])
                return answer
        raise RuntimeError(f"the peer's process ended: {last_words('', self._log.read_text())}")


@contextmanager
def started(settings: Settings, python: Path, module: str, *arguments: object, log: Path) -> Iterator[Peer]:
    """Starts a module with the peers' interpreter; it ends with the block.

    Args:
        settings: Where its caches go.
        python: The peers' interpreter.
        module: Answers lines.
        arguments: Its own.
        log: Takes what it says on standard error.
    """
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [str(python), "-m", module, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=ROOT,
            env=environment(settings.work / "home"),
        ) as process,
    ):
        try:
            yield Peer(process, log)
        finally:
            process.terminate()
