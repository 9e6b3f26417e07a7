"""What ``--runner`` may say; apart from the runners, so that asking for one loads none."""

from __future__ import annotations

import re
from pathlib import Path

from tasks.errors import UsageError

THREADS, DASK = "threads", "dask"


def scheduler_address(runner: str) -> str | None:
    """The address behind ``dask://host:port``; None for the runners without one.

    Raises:
        UsageError: There is no such runner.
    """
    if runner in (THREADS, DASK):
        return None
    found = re.fullmatch(r"(dask|tcp|tls)://([^\s/]+:\d+)", runner)
    if not found:
        raise UsageError(
            f"--runner {runner} is none: give threads, dask, or dask://HOST:PORT of a running scheduler"
        )
    scheme = "tcp" if found[1] == "dask" else found[1]
    return f"{scheme}://{found[2]}"


def absolute_model(model: str) -> str:
    """A bundle's folder for processes that were started elsewhere; the name of a shipped one as it is."""
    return str(Path(model).absolute()) if Path(model).is_dir() else model
