"""Content digests of inputs, computed once per (path, size, mtime, inode)."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from tasks.errors import InputError, OutputError
from tasks.files import atomic_write, file_digest
from tasks.imagery.source import Named, Source

logger = logging.getLogger(__name__)


#: What GDAL reads beside a TIFF: masks, georeference, nodata. Overviews do not change pixels.
_BESIDE = (".msk", ".aux.xml")
_WORLD = (".tfw", ".tifw", ".tiffw", ".wld")


def input_digest(source: Named, *, cache: Path | None = None) -> str:
    """``sha256:…`` of an image's content.

    Of a file alone it is the file's own; where other files beside it change what is read
    (an external mask, a world file), it is that of the list of all their digests. Of a folder it
    is that of the names and digests of all its files, of several files that of their digests and
    channels.

    Args:
        source: The image.
        cache: Folder of cached digests; the user's cache folder by default.

    Raises:
        InputError: It cannot be read.
    """
    source = Source.of(source).revealed()
    cache = cache or platformdirs.user_cache_path("segflow") / "digests"
    digests = [(_part_digest(p.local, cache), p.channel) for p in source.parts]
    if len(digests) == 1:
        return digests[0][0]
    return _listed(digests)


def _part_digest(path: Path, cache: Path) -> str:
    try:
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.is_file())
            return _listed([[p.relative_to(path).as_posix(), _cached_digest(p, cache)] for p in files])
        parts = [(p.name, _cached_digest(p, cache)) for p in (path, *sidecars(path))]
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}; check the path and its permissions"
        ) from error
    if len(parts) == 1:
        return parts[0][1]
    # The image's own name does not matter, so that a renamed archive stays done.
    return _listed([parts[0][1], *[(n.removeprefix(path.stem), d) for n, d in parts[1:]]])


def _listed(digests: Sequence[object]) -> str:
    return f"sha256:{hashlib.sha256(json.dumps(digests).encode()).hexdigest()}"


def sidecars(path: Path) -> list[Path]:
    """Files beside a TIFF that change what is read from it."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return []
    named = [path.with_name(path.name + s) for s in _BESIDE] + [path.with_suffix(s) for s in _WORLD]
    return [p for p in named if p.is_file()]


def _cached_digest(path: Path, cache: Path) -> str:
    stat = path.stat()
    identity = [str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino]
    entry = cache / hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    if entry.is_file() and (known := entry.read_text()).startswith("sha256:"):
        return known
    digest = file_digest(path)
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
