"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tasks.crash import crash_point
from tasks.errors import OutputError

_REMEDY = {
    errno.ENOSPC: "the disk is full; free some space and run again, finished blocks are kept",
    errno.EDQUOT: "the disk quota is used up; free some space and run again, finished blocks are kept",
    errno.EFBIG: "the file would be larger than this disk or account allows; choose another --out",
    errno.EACCES: "permission denied; choose another --out or change its permissions",
    errno.EPERM: "operation not permitted; choose another --out or change its permissions",
    errno.EROFS: "the file system is read-only; choose another --out",
    errno.ENOENT: "the folder is not there and cannot be made; choose another --out",
    errno.ENOTDIR: "a part of the path is a file; choose another --out",
    errno.EEXIST: "a file is in the way; choose another --out",
}


def output_error(error: OSError, path: Path) -> OutputError:
    """Turns an operating-system error on writing into one sentence with its remedy."""
    reason = _REMEDY.get(error.errno or 0, f"{error.strerror or error}")
    return OutputError(f"cannot write {path}: {reason}")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises :class:`OutputError` for operating-system errors inside the block."""
    try:
        yield
    except OSError as error:
        raise output_error(error, path) from error


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Opens ``path`` for writing under a temporary name; fsync and rename on success.

    Raises:
        OutputError: Disk full, no permission and the like; nothing is left behind.
    """
    # Processes on several machines may share the folder, and their numbers may be the same.
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    with writing(path):
        try:
            with part.open("wb") as stream:
                crash_point(f"opened {path.name}")
                yield stream
                stream.flush()
                crash_point(f"written {path.name}")
                os.fsync(stream.fileno())
            crash_point(f"fsynced {path.name}")
            part.replace(path)
            crash_point(f"renamed {path.name}")
            fsync_directory(path.parent)
        finally:
            part.unlink(missing_ok=True)


def fsync_directory(directory: Path) -> None:
    """Makes renames inside a directory durable."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_digest(path: Path) -> str:
    """``sha256:…`` of a file, streamed."""
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
