"""What tells one state of an input from another.

Of files it is the digest of their content, computed once per (path, size, mtime, inode); of an address its
version or ETag and its size, as the server says.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from tasks.errors import InputError, OutputError
from tasks.files import atomic_write, file_digest
from tasks.imagery.scene.find import companions
from tasks.imagery.source import Named, Part, Source
from tasks.imagery.validity.asked import mask_files
from tasks.imagery.volume.companions import companions as data_files
from tasks.imagery.wanted import Reading

logger = logging.getLogger(__name__)


#: What GDAL reads beside a raster: masks, georeference, nodata. Overviews do not change pixels.
_BESIDE = (".msk", ".aux.xml")
#: World files and headers, by the endings of rasters that have them.
_WORLD = {
    (".tif", ".tiff"): (".tfw", ".tifw", ".tiffw", ".wld"),
    (".png",): (".pgw", ".pngw", ".wld"),
    (".jpg", ".jpeg"): (".jgw", ".jpgw", ".jpegw", ".wld"),
    (".jp2", ".j2k"): (".j2w", ".jp2w", ".wld"),
    (".img", ".dat", ".bsq", ".bil", ".bip"): (".hdr", ".ige"),
}
#: What a digest is of, by its prefix.
IDENTITIES = {"sha256": "content", "version": "version", "etag": "ETag", "modified": "date"}


def input_digest(
    source: Named, *, reading: Reading | None = None, cache: Path | None = None, verify: bool = False
) -> str:
    """``sha256:…`` of an image's content, or what a server says of an address.

    Of a file alone it is the file's own; where other files change what is read (an external mask, a
    world file, the sources of a virtual raster), it is that of the list of all their digests. Of a
    folder it is that of the names and digests of all its files, of several files that of their
    digests and channels. Of an address it is ``version:…`` or ``etag:…`` with the size, or
    ``modified:…`` where a server knows neither. Files that decide what is read of the image count too: those
    that a STAC item or a product's metadata names, and validity masks.

    Args:
        source: The image.
        reading: How it is read: names its validity masks.
        cache: Folder of cached digests; the user's cache folder by default.
        verify: Read every byte, of addresses too, and believe nothing that is cached.

    Raises:
        InputError: It cannot be read.
    """
    source = Source.of(source).revealed()
    cache = cache or platformdirs.user_cache_path("segflow") / "digests"
    beside = [*companions(source), *(mask_files(source, reading.valid) if reading is not None else ())]
    named = [(p, p.channel) for p in source.parts] + [(Part(uri=u), "beside") for u in beside]
    kept = None if verify else cache
    digests = [
        (_remote_digest(p.uri, verify) if p.remote else _part_digest(p.local, kept), what)
        for p, what in named
    ]
    if len(digests) == 1:
        return digests[0][0]
    listed = _listed(digests)
    # A list is of content if all of it is.
    kind = next((d.partition(":")[0] for d, _ in digests if not d.startswith("sha256:")), "sha256")
    return f"{kind}:{listed.partition(':')[2]}"


def identity_of(digest: str) -> str:
    """What a digest is of, for people: ``content``, ``version``, ``ETag`` or ``date``."""
    return IDENTITIES.get(digest.partition(":")[0], "content")


def size_of(source: Source, digest: str) -> int:
    """Bytes of an image's own files; of an address as its server says, 0 where it does not answer any more."""
    source = source.revealed()
    if not source.remote:
        beside = [p for uri in companions(source) for p in Source.of(uri).paths]
        return sum(_bytes(p) for p in (*source.paths, *beside))
    from tasks.imagery.raster.remote import remote_identity

    try:
        # A list's digest holds no size, nor does one of content.
        known = [digest] if "+" in digest else [remote_identity(p.uri) for p in source.parts if p.remote]
    except InputError:
        return 0
    return sum(int(k.rpartition("+")[2]) for k in known) + sum(_bytes(p) for p in source.paths)


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(p.stat().st_size for p in files if p.is_file())


def _remote_digest(uri: str, verify: bool) -> str:
    from tasks.imagery.raster.remote import remote_digest, remote_identity

    return remote_digest(uri) if verify else remote_identity(uri)


def _part_digest(path: Path, cache: Path | None) -> str:
    try:
        if path.suffix.lower() == ".vrt" and path.is_file():
            return _virtual_digest(path, cache)
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


def _virtual_digest(path: Path, cache: Path | None) -> str:
    """Of a virtual raster and all that it names, each with what lies beside it."""
    from tasks.imagery.raster.virtual import check_virtual

    files = dict.fromkeys(f for named in check_virtual(path).files for f in (named, *sidecars(named)))
    return _listed([_cached_digest(f, cache) for f in files])


def _listed(digests: Sequence[object]) -> str:
    return f"sha256:{hashlib.sha256(json.dumps(digests).encode()).hexdigest()}"


def sidecars(path: Path) -> list[Path]:
    """Files beside an image that change what is read from it."""
    if others := data_files(path):
        return others
    worlds = next((w for suffixes, w in _WORLD.items() if path.suffix.lower() in suffixes), None)
    if worlds is None:
        return []
    named = [path.with_name(path.name + s) for s in _BESIDE] + [path.with_suffix(s) for s in worlds]
    return [p for p in named if p.is_file()]


def _cached_digest(path: Path, cache: Path | None) -> str:
    if cache is None:
        return file_digest(path)
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
