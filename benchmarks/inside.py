"""``python -m benchmarks.inside``: one ``segflow run`` in this process, watched from within.

Everything is imported before the clock starts, so that the flow and the plain functions are compared
without their imports. Bytes are those that system calls read from files (Linux only).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from flows.environment import prepare_environment


class Watch:
    """A progress listener that notes when each stage begins, and how many bytes were read by then."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, float, int]] = []
        self.plan: dict[str, int] = {}

    def stage(self, name: str) -> None:
        self.stages.append((name, time.perf_counter(), bytes_read()))

    def planned(self, planned: Any, plan: Any) -> None:
        self.plan = {"blocks": planned.blocks, "tiles": planned.tiles}

    def block(self) -> None: ...

    def published(self, folder: Path, record: dict[str, Any]) -> None: ...

    def until(self, end: float) -> dict[str, dict[str, float]]:
        """Seconds and bytes of every stage."""
        ends = [*self.stages[1:], ("end", end, bytes_read())]
        return {
            name: {"seconds": after[1] - start, "bytes": after[2] - read}
            for (name, start, read), after in zip(self.stages, ends, strict=True)
        }


def bytes_read() -> int:
    """Bytes that this process has read by system calls, from files and from the page cache; 0 if unknown."""
    file = Path("/proc/self/io")
    if not file.is_file():
        return 0
    return int(file.read_text().split("rchar:")[1].split()[0])


def main() -> None:
    """Runs one item, as a flow or directly; prints a JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path)
    parser.add_argument("bundle")
    parser.add_argument("out", type=Path)
    parser.add_argument("--direct", action="store_true")
    parser.add_argument("--warm", type=Path, help="an image to run first, unmeasured")
    parser.add_argument("--overlap", type=float)
    parser.add_argument("--block", type=int)
    parser.add_argument("--workers", type=int, default=2)
    asked = vars(parser.parse_args())
    prepare_environment()

    from rich.console import Console

    import flows.image
    import flows.progress
    from flows.commands.run import execute

    direct, bundle, warm = (asked.pop(name) for name in ("direct", "bundle", "warm"))
    console = Console(stderr=True)
    if warm:
        # What is imported late and compiled kernels that are cached on disk are not what is measured either.
        execute(console, direct=True, debug=False, image=warm, model=bundle, out=asked["out"] / "warm")
    watch = Watch()

    @contextmanager
    def shown(_console: Console) -> Iterator[Watch]:
        # `attached` finds it there when the flow runs in this process.
        with flows.progress._displaying(watch):
            yield watch

    with patch.object(flows.progress, "shown", shown):
        begin = time.perf_counter()
        result = execute(console, direct=direct, debug=False, model=bundle, **asked)
        end = time.perf_counter()
    answer = {"seconds": end - begin, "status": result.status, **watch.plan, "stages": watch.until(end)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
