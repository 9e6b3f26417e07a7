"""The key file: which image a pseudonym stands for. Only its owner may read it.

A pseudonym is a keyed hash (HMAC-SHA-256) of the image's real place and series with a secret that lies in the same
file: the same image has the same pseudonym in every run below one output folder, and nobody without the file can test
a guess.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from tasks.errors import InputError
from tasks.files import fsync_directory, writing

#: Below ``OUT/.segflow``.
NAME = "keys.json"
#: Begins the address of an image that is named by its key: ``private:KEYFILE#KEY``.
SCHEME = "private:"


@dataclass(frozen=True)
class Entry:
    """What a key stands for.

    Attributes:
        parts: Paths or addresses of the image, each with its channel or None.
        layer: The user's ``--layer``; UIDs of the series that it means, with commas between, where it means series.
        aoi: The user's ``--aoi``.
        about: Of DICOM: the patient's id and name, the study, and by key its ``series`` as the scanner numbers
            them, each with ``uid``, ``number``, ``description`` and ``modality``.
    """

    parts: tuple[tuple[str, str | None], ...]
    layer: str | None = None
    aoi: str | None = None
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def texts(self) -> list[str]:
        """Everything that may not be said; words of descriptions, which no sentence holds, are any words."""
        about = [t for t in self.about.values() if isinstance(t, str)]
        return [uri for uri, _ in self.parts] + [
            t for t in (self.layer, self.aoi, *about, *self.series.values()) if t
        ]

    @property
    def series(self) -> dict[str, str]:
        """UIDs of its DICOM series by their keys."""
        held = self.about.get("series")
        return {key: one["uid"] for key, one in held.items()} if isinstance(held, dict) else {}


def address(file: Path, key: str) -> str:
    """The address of an image named by its key."""
    return f"{SCHEME}{file}#{key}"


def key_in(uri: str) -> str:
    """The key in an address."""
    return uri.rpartition("#")[2]


def register(file: Path, *entries: Entry) -> list[str]:
    """Writes down what keys stand for; gives the key of each entry.

    Args:
        file: Made if missing, readable by its owner alone.
        entries: With absolute paths.

    Raises:
        OutputError: It cannot be written.
    """
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            held = _held(file)
            known = held or {"secret": secrets.token_hex(32), "keys": {}}
            found = {_key(known["secret"], e): json.loads(json.dumps(asdict(e))) for e in entries}
            if held is None or any(known["keys"].get(key) != plain for key, plain in found.items()):
                known["keys"] |= found
                _replace(file, json.dumps(known, indent=1, ensure_ascii=False).encode())
            return [_key(known["secret"], e) for e in entries]


def pseudonym(file: Path, text: str, *, prefix: str) -> str:
    """A text's pseudonym under the secret of a key file that is there."""
    held = _held(file)
    assert held is not None, file
    return f"{prefix}-{_hash(held['secret'], text)[:12]}"


def plain_series_key(uid: str) -> str:
    """A DICOM series' key where nothing is hidden: whoever knows the UID can tell it.

    Example:
        >>> plain_series_key("1.2.3")
        's-c47f5b18'
    """
    return f"s-{hashlib.sha256(uid.encode()).hexdigest()[:8]}"


def series_keys(file: Path) -> Callable[[str], str]:
    """What gives a DICOM series' key by its UID, under the secret of a key file, which is made if missing.

    Raises:
        OutputError: It cannot be written.
    """
    register(file)
    held = _held(file)
    assert held is not None, file
    secret = held["secret"]
    return lambda uid: f"s-{_hash(secret, uid)[:8]}"


def copy_secret(source: Path, target: Path) -> None:
    """Begins a key file with the secret of another, if that is there, so that keys agree."""
    held = _held(source)
    if held is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, json.dumps({"secret": held["secret"], "keys": {}}).encode())


def look_up(uri: str) -> Entry:
    """What an address stands for.

    Raises:
        InputError: The key file is gone, or does not know the key.
    """
    file, _, key = uri.removeprefix(SCHEME).rpartition("#")
    try:
        stat = Path(file).stat()
        return _entries(file, stat.st_mtime_ns, stat.st_size, stat.st_ino)[key]
    except (OSError, KeyError, ValueError):
        raise InputError(
            f"{key} is a key that {file} does not know: run segflow with the image's path again"
        ) from None


@lru_cache(maxsize=4)
def _entries(file: str, _mtime: int, _size: int, _inode: int) -> dict[str, Entry]:
    held = json.loads(Path(file).read_bytes())
    return {
        key: Entry(**{**plain, "parts": tuple((uri, channel) for uri, channel in plain["parts"])})
        for key, plain in held["keys"].items()
    }


def _held(file: Path) -> dict[str, Any] | None:
    try:
        held = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        held = None
    if not isinstance(held, dict) or not isinstance(held.get("secret"), str) or "keys" not in held:
        raise InputError(f"{file} is no key file: move it away, or give another --out")
    return held


def _key(secret: str, entry: Entry) -> str:
    parts = [(_real(uri), channel) for uri, channel in entry.parts]
    return f"p-{_hash(secret, json.dumps([parts, entry.layer, entry.aoi]))[:16]}"


def _real(uri: str) -> str:
    """A path without links and detours, so that however a file is named it has one key."""
    try:
        return str(Path(uri).resolve(strict=True))
    except (OSError, RuntimeError):
        return uri  # an address, or a pattern


def _hash(secret: str, text: str) -> str:
    return hmac.new(bytes.fromhex(secret), text.encode(), hashlib.sha256).hexdigest()


def _replace(file: Path, data: bytes) -> None:
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
        fsync_directory(file.parent)
    finally:
        part.unlink(missing_ok=True)
