"""Content digests of inputs, computed once per (path, size, mtime, inode)."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import platformdirs

from tasks.errors import InputError, OutputError
from tasks.files import atomic_write, file_digest

logger = logging.getLogger(__name__)


def input_digest(path: Path, *, cache: Path | None = None) -> str:
    """``sha256:…`` of a local file's content.

    Args:
        path: The file.
        cache: Folder of cached digests; the user's cache folder by default.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        stat = path.stat()
        identity = [str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino]
        key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
        entry = (cache or platformdirs.user_cache_path("segflow") / "digests") / key
        if entry.is_file() and (known := entry.read_text()).startswith("sha256:"):
            return known
        digest = file_digest(path)
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}; check the path and its permissions"
        ) from error
    _remember(entry, digest)
    return digest


def _remember(entry: Path, digest: str) -> None:
    """A cache that cannot be written costs time, not correctness: it is said and passed over."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(entry) as stream:
            stream.write(digest.encode())
    except (OSError, OutputError) as error:
        logger.info("the digest of the input is not cached: %s", error)
