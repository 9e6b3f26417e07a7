"""Loading what a run will need while it waits for its server, or for its model."""

from __future__ import annotations

import importlib
import threading
from contextlib import suppress

#: Modules that take long to load, in the order in which a run comes to them; the last are those that the
#: regions and the report need besides, which they load late themselves.
_NEEDED = (
    "tasks.planning.step",
    "tasks.stitching.step",
    "tasks.regions.step",
    "tasks.reports.step",
    "scipy.interpolate",
    "pyproj",
    "pyarrow.parquet",
    "pyarrow.csv",
    "pandas",
    "shapely",
    "PIL.Image",
    "PIL.ImageFont",
    "jinja2",
    "pystac",
)


def load_ahead() -> None:
    """Loads them in a thread of its own; whoever needs one of them waits for it."""
    threading.Thread(target=_load, daemon=True).start()


def _load() -> None:
    for name in _NEEDED:
        # Whoever needs what cannot be loaded imports it again, and says why it cannot.
        with suppress(Exception):
            importlib.import_module(name)
