"""Log lines for people: time, level where it matters, sentence; on standard error."""

from __future__ import annotations

import logging
import warnings

from rich.console import Console
from rich.logging import RichHandler


def set_up_logging(console: Console, *, debug: bool) -> None:
    """Sends segflow's own log to the console; a terminal with a bar gets warnings only."""
    # An image without georeference has a note of its own in the record; rasterio need not say it again.
    # What segflow says itself, or settles: beside a nodata value it reads the alpha band too. Not at the call:
    # blocks are read by threads, and catch_warnings would mix up the filters of all of them.
    said = (
        "Dataset has no geotransform|The given matrix is equal to|The dataset's nodata attribute is shadowing"
    )
    warnings.filterwarnings("ignore", message=f"({said})")
    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=debug, show_time=False, markup=False)
    else:
        handler = logging.StreamHandler(console.file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    level = logging.DEBUG if debug else logging.WARNING if console.is_terminal else logging.INFO
    for name in ("segflow", "flows", "tasks", "segmodels"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
