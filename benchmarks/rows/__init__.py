"""One file per row of the table, with its ``ROW``; ``whole_run`` makes two of them."""

from __future__ import annotations

from importlib import import_module

from benchmarks.harness import Row

#: In the order of the table.
NAMES = (
    "run2d",
    "run3d",
    "startup",
    "noop",
    "memory",
    "prefect",
    "dask",
    "engines",
    "decoded",
    "inflate",
    "evaluate",
    "polygons",
    "written",
)


def load(name: str) -> Row:
    """The row of that name, one of :data:`NAMES`."""
    row: Row = import_module(f"benchmarks.rows.{name}").ROW
    return row
