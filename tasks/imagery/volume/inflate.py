"""A .nii.gz is inflated once, as a stream, into the scratch folder; blocks then read plain bytes."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import shutil
import uuid
import zlib
from contextlib import suppress
from pathlib import Path

from tasks.errors import InputError, OutputError

_CHUNK = 1 << 20
#: Deflate cannot do better than 1032 : 1.
_MAX_RATIO = 1040


def head_of(path: Path, n: int) -> bytes:
    """The first ``n`` inflated bytes (fewer if the file is shorter).

    Raises:
        InputError: Not gzip, truncated or corrupt.
    """
    try:
        with gzip.open(path, "rb") as f:
            return f.read(n)
    except (EOFError, gzip.BadGzipFile, zlib.error) as e:
        raise _refused(path, e) from e


def inflate(path: Path, scratch: Path, *, size: int) -> Path:
    """Inflates ``path`` into ``scratch``, unless that has been done already.

    The name holds path, size and modification time, so a changed file is inflated anew.
    The whole stream is read even where only ``size`` bytes are kept: the checksum is at
    its end.

    Args:
        path: The ``.nii.gz``.
        scratch: A folder for the temporary file; made if missing.
        size: How many bytes the header says the file has.

    Returns:
        A plain ``.nii`` of exactly ``size`` bytes.

    Raises:
        InputError: Not gzip, truncated, corrupt, or shorter than its header claims.
        OutputError: The scratch folder cannot take it.
    """
    stat = path.stat()
    if size > stat.st_size * _MAX_RATIO + _CHUNK:
        raise InputError(
            f"{path} claims {size} bytes, which a file of {stat.st_size} bytes cannot hold; fetch it again."
        )
    key = hashlib.sha256(
        f"{path.absolute()}\0{stat.st_size}\0{stat.st_mtime_ns}\0{size}".encode()
    ).hexdigest()
    target = scratch / f"{key[:24]}.nii"
    if target.is_file() and target.stat().st_size == size:
        return target
    part = scratch / f"{key[:24]}.{uuid.uuid4().hex[:8]}.part"
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(scratch).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        _copy(path, part, size)
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


def _copy(path: Path, part: Path, size: int) -> None:
    done = 0
    with path.open("rb") as raw, part.open("wb") as out:
        source = gzip.GzipFile(fileobj=raw)
        while True:
            try:
                data = source.read(_CHUNK)
            except (EOFError, gzip.BadGzipFile, zlib.error) as e:
                raise _refused(path, e) from e
            if not data:
                break
            if done < size:
                out.write(data[: size - done])
            done += len(data)
        out.flush()
        os.fsync(out.fileno())
    if done < size:
        raise InputError(f"{path} claims {size} bytes but holds only {done}; fetch or export it again.")


def _refused(path: Path, e: Exception) -> InputError:
    if isinstance(e, EOFError):
        return InputError(f"{path} is a truncated gzip file; fetch it again.")
    if "Not a gzipped" in str(e):
        return InputError(f"{path} is not a gzip file although its name ends in .gz; rename or compress it.")
    return InputError(f"{path} is a corrupt gzip file ({e}); fetch it again.")
