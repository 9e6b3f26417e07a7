"""A compressed volume is inflated once, as a stream, into the scratch folder; blocks then read plain bytes."""

from __future__ import annotations

import errno
import hashlib
import os
import queue
import shutil
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

from isal import isal_zlib

from tasks.errors import InputError, OutputError

_CHUNK = 1 << 20
#: Compressed bytes read at once: what is left of them after each piece is copied.
_PACKED = 1 << 18
#: Pieces that wait for the disk while the next is inflated.
_WAITING = 4
#: Deflate cannot do better than 1032 : 1.
_MAX_RATIO = 1040
#: A gzip or a zlib stream, whichever comes.
_ANY_WRAPPER = 47
#: What ISA-L raises; its types say an instance.
_DAMAGED = cast(type[Exception], isal_zlib.error)
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def head_of(path: Path, n: int) -> bytes:
    """The first ``n`` inflated bytes (fewer if the file is shorter).

    Raises:
        InputError: Not gzip, truncated or corrupt.
    """
    out = b""
    for data in _inflated(path, 0, None, limit=n):
        out += data
        if len(out) >= n:
            break
    return out[:n]


def inflate(path: Path, scratch: Path, *, size: int, start: int = 0, stop: int | None = None) -> Path:
    """Inflates ``path`` into ``scratch``, unless that has been done already.

    The name holds path, size and modification time, so a changed file is inflated anew, and the boot of the
    machine: what a crash may have kept from the disk is inflated again, so nothing waits for the disk. Two
    processes that inflate the same file write each its own, and the last name is the one that stays.
    The whole stream is read even where only ``size`` bytes are kept: the checksum is at its end.

    Args:
        path: The file.
        scratch: A folder for the temporary file; made if missing.
        size: How many bytes the header says the file has.
        start: Where in the file its gzip or zlib data begin.
        stop: Where they end; None: with the file.

    Returns:
        A plain file of exactly ``size`` bytes.

    Raises:
        InputError: Not compressed, truncated, corrupt, or shorter than its header claims.
        OutputError: The scratch folder cannot take it.
    """
    stat = path.stat()
    if size > stat.st_size * _MAX_RATIO + _CHUNK:
        raise InputError(
            f"{path} claims {size} bytes, which a file of {stat.st_size} bytes cannot hold; fetch it again."
        )
    boot = _boot()
    identity = (str(path.absolute()), stat.st_size, stat.st_mtime_ns, stat.st_ino, size, start, stop, boot)
    key = hashlib.sha256(repr(identity).encode()).hexdigest()
    target = scratch / f"{key[:24]}.nii"
    if target.is_file() and target.stat().st_size == size:
        return target
    part = scratch / f"{key[:24]}.{uuid.uuid4().hex[:8]}.part"
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(scratch).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        _copy(path, part, size, start, stop, durable=not boot)
        part.replace(target)
    except OSError as e:
        raise OutputError(
            f"{path} cannot be inflated into {scratch} ({e.strerror or e}); "
            f"free {size} bytes there or choose another folder."
        ) from e
    finally:
        with suppress(FileNotFoundError, NotADirectoryError):
            part.unlink()
    return target


def _boot() -> str:
    """Which boot of the machine this is; empty where that cannot be known."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def _copy(path: Path, part: Path, size: int, start: int, stop: int | None, *, durable: bool) -> None:
    """Inflates in this thread while another writes; both let go of Python's lock."""
    done = 0
    pieces: queue.Queue[bytes | None] = queue.Queue(_WAITING)
    failed: list[OSError] = []
    with part.open("wb", buffering=0) as out:

        def write() -> None:
            while (piece := pieces.get()) is not None:
                if failed:
                    continue
                try:
                    rest = memoryview(piece)
                    while rest:
                        rest = rest[out.write(rest) :]
                except OSError as error:
                    failed.append(error)

        writer = threading.Thread(target=write, name="inflate-writer", daemon=True)
        writer.start()
        try:
            for data in _inflated(path, start, stop):
                if failed:
                    break
                if done < size:
                    pieces.put(data[: size - done])
                done += len(data)
        finally:
            pieces.put(None)
            writer.join()
        if failed:
            raise failed[0]
        if durable:
            os.fsync(out.fileno())
    if done < size:
        raise InputError(f"{path} claims {size} bytes but holds only {done}; fetch or export it again.")


def _inflated(path: Path, start: int, stop: int | None, *, limit: int = _CHUNK) -> Iterator[bytes]:
    """Pieces of at most ``limit`` bytes; checksums are checked below."""
    with path.open("rb") as raw:
        raw.seek(start)
        left = (path.stat().st_size if stop is None else stop) - start
        stream, begun, more = isal_zlib.decompressobj(_ANY_WRAPPER), False, b""
        while True:
            if not more:
                more = raw.read(min(_PACKED, left))
                left = left - len(more) if more else 0
            if stream.eof:
                # Archivers pad with zeros; another member may follow.
                more = more.lstrip(b"\0")
                if not more and not left:
                    return
                if more and more[0] != 0x1F:
                    raise InputError(
                        f"{path} goes on after the end of its compressed data; fetch or export it again."
                    )
                stream = isal_zlib.decompressobj(_ANY_WRAPPER) if more else stream
                continue
            try:
                data = stream.decompress(more, limit)
            except _DAMAGED as e:
                if not begun and not _looks_packed(path, start):
                    raise InputError(_not_packed(path)) from e
                raise InputError(f"{path} is a corrupt gzip file ({e}); fetch it again.") from e
            if not more and not data and not stream.eof:
                raise InputError(f"{path} is a truncated gzip file; fetch it again.")
            begun = True
            more = stream.unused_data if stream.eof else stream.unconsumed_tail
            if data:
                yield data


def _not_packed(path: Path) -> str:
    if path.name.lower().endswith(".gz"):
        return f"{path} is not a gzip file although its name ends in .gz; rename or compress it."
    return f"{path} holds voxels that are not compressed as its header says; export it again."


def _looks_packed(path: Path, start: int) -> bool:
    with path.open("rb") as f:
        f.seek(start)
        return f.read(2) in (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
