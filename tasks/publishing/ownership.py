"""One run owns an output at a time; the lock dies with its process, however that dies."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tasks.errors import OwnedError
from tasks.files import atomic_write, writing


@contextmanager
def owned(folder: Path, *, item: str) -> Iterator[None]:
    """Owns an item's work folder inside the block.

    Raises:
        OwnedError: Another run owns it; says which.
        OutputError: The folder cannot be made.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "owner.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise OwnedError(
                f"another run ({_owner(folder)}) is working on item {item}: wait for it, or give another --out"
            ) from None
    try:
        with atomic_write(folder / "owner.json") as stream:
            stream.write(json.dumps({"pid": os.getpid(), "host": platform.node()}).encode())
        yield
    finally:
        lock.release()


def _owner(folder: Path) -> str:
    try:
        known = json.loads((folder / "owner.json").read_text())
        return f"process {known['pid']} on {known['host']}"
    except (OSError, ValueError, KeyError):
        return "process unknown"
