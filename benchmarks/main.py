"""Measures rows, prints the table and keeps it in ``benchmarks/results/``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks.harness import ROOT, Figure, Row, Settings, run_row
from benchmarks.machine import describe_machine
from benchmarks.table import markdown, save

#: Where the real data for development lie, if they do.
NUCLEI = ROOT.parent / "shared" / "data" / "nuclei"


def main(rows: Mapping[str, Callable[[], Row]], arguments: Sequence[str] | None = None) -> int:
    """The command line of the benchmarks.

    Args:
        rows: Rows to choose from, each imported when it is measured.
        arguments: In place of the process's own.

    Returns:
        0, or 1 if a row failed. A goal that is missed is a figure, not an error.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", default="", help=f"comma-separated, of {','.join(rows)}; all by default")
    parser.add_argument("--repeats", type=int, default=3, help="rounds per row (default 3)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the goals' sizes (default 1)")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench", help="images, bundles, caches")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="saved tables")
    parser.add_argument(
        "--nuclei", type=Path, default=NUCLEI, help="images that the peers' training row trains on"
    )
    asked = parser.parse_args(arguments)
    names = [name.strip() for name in asked.rows.split(",") if name.strip()] or list(rows)
    unknown = [name for name in names if name not in rows]
    if unknown:
        parser.error(f"there is no row {', '.join(unknown)}; choose of {', '.join(rows)}")
    if asked.repeats < 1 or not 0 < asked.scale <= 1:
        parser.error("--repeats is at least 1, --scale above 0 and at most 1")

    started, begin = datetime.now(UTC), time.perf_counter()
    machine = describe_machine()
    figures: dict[str, list[Figure]] = {}
    for name in names:
        note = partial(_note, begin, name)
        settings = Settings(asked.work.resolve(), asked.repeats, asked.scale, note, asked.nuclei.resolve())
        figures[name] = run_row(rows[name](), settings)
    said = {"rows": names, "repeats": asked.repeats, "scale": asked.scale}
    file = save(asked.out, figures, machine=machine, settings=said, started=started)
    print(markdown(figures, machine=machine, scale=asked.scale))
    print(
        f"kept in {file} and {file.with_suffix('.md').name}; images and caches in {asked.work}",
        file=sys.stderr,
    )
    return int(any(f.failed for several in figures.values() for f in several))


def _note(begin: float, row: str, text: str) -> None:
    print(f"[{time.perf_counter() - begin:6.0f} s] {row}: {text}", file=sys.stderr, flush=True)
