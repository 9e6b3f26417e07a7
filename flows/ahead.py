"""Loading what a run will need while it waits for its server."""

from __future__ import annotations

import importlib
import threading

#: Modules that take long to load, in the order in which a run comes to them.
_NEEDED = ("tasks.planning.step", "tasks.stitching.step", "tasks.regions.step", "tasks.reports.step")


def load_ahead() -> None:
    """Loads the steps in a thread of its own; whoever needs one of them waits for it."""
    threading.Thread(target=_load, daemon=True).start()


def _load() -> None:
    for name in _NEEDED:
        importlib.import_module(name)
