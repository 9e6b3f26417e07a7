"""What the writers of masks share: room on the disk, and files that appear whole."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from tasks.crash import crash_point
from tasks.files import fsync_directory

SPECIAL_COLOURS = {"nodata": "#000000", "failed": "#ff00ff", "unobserved": "#808080"}


def need_space(folder: Path, size: int) -> None:
    """Raises ENOSPC before, rather than in the middle of, writing ``size`` bytes."""
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def remove(*paths: Path) -> None:
    """Removes files that may not be there, in folders that may not be there."""
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def fsync_replace(part: Path, path: Path) -> None:
    """Makes ``part`` durable, then gives it its final name."""
    crash_point(f"written {path.name}")
    with part.open("rb+") as f:
        os.fsync(f.fileno())
    crash_point(f"fsynced {path.name}")
    part.replace(path)
    crash_point(f"renamed {path.name}")
    fsync_directory(path.parent)
