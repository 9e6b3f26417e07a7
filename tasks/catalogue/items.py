"""The published items of an output folder, one at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.errors import InputError
from tasks.publishing.publish import RECORD, read_record
from tasks.work import WORK


def published(out: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folder and record of every item below ``out``, by name; folders inside an item are not looked into.

    Raises:
        InputError: It is no folder.
    """
    if not out.is_dir():
        raise InputError(f"{out} is no folder: name the --out of earlier runs")
    for place, folders, files in os.walk(out):
        folders[:] = sorted(f for f in folders if f not in (WORK, "derivatives"))
        record = read_record(Path(place) / RECORD) if RECORD in files else None
        if record is not None:
            folders.clear()
            yield Path(place), record
