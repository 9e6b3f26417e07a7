"""Crash points: instants at which a test makes a process die, as a power cut would.

Nothing happens unless ``SEGFLOW_CRASH_AT`` is set, which only tests do: ``PATTERN`` or ``PATTERN:COUNT``, a
shell pattern for the name of a point and how often it must be passed. With ``SEGFLOW_CRASH_ONCE`` the crash
leaves that file, and does not happen where it exists.
"""

from __future__ import annotations

import os
import signal
from fnmatch import fnmatchcase
from pathlib import Path

AT = "SEGFLOW_CRASH_AT"
ONCE = "SEGFLOW_CRASH_ONCE"


def crash_point(name: str) -> None:
    """Kills this process at once if the environment names this point.

    Args:
        name: What has just happened, or is about to: ``written block-00000003.blk``.
    """
    wanted = os.environ.get(AT)
    if not wanted:
        return
    pattern, _, count = wanted.partition(":")
    if not fnmatchcase(name, pattern):
        return
    left = int(count or 1) - 1
    if left:
        os.environ[AT] = f"{pattern}:{left}"
        return
    if once := os.environ.get(ONCE):
        if Path(once).exists():
            return
        Path(once).touch()
    os.kill(os.getpid(), signal.SIGKILL)
