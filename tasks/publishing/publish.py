"""Publishing: a complete folder takes its final name, ``run.json`` last."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from tasks.errors import InputError
from tasks.files import atomic_write, fsync_directory, writing

RECORD = "run.json"


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a published item, or None: an item without it does not exist."""
    try:
        record = json.loads((folder / RECORD).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def check_item_free(folder: Path, *, item: str, image: Path, digest: str) -> None:
    """Refuses an item id that another input already holds.

    Raises:
        InputError: Another file is published under this id.
    """
    record = read_record(folder)
    if record is None:
        return
    held = record["input"]
    if held["path"] != str(image.resolve()) and held["digest"] != digest:
        raise InputError(
            f"item {item} in {folder.parent} already holds the result of {held['path']}: "
            f"give {image} another --item name or another --out"
        )


def is_done(
    folder: Path, *, image_digest: str, bundle_digest: str, parameters_digest: str
) -> dict[str, Any] | None:
    """The record, if this very result is already published; else None.

    A *partial* result is not done: running again retries its failed tiles.
    """
    record = read_record(folder)
    if record is None:
        return None
    same = (
        record["input"]["digest"] == image_digest
        and record["bundle"]["digest"] == bundle_digest
        and record["parameters_digest"] == parameters_digest
        and record["status"] != "partial"
    )
    return record if same else None


def publish(staging: Path, folder: Path, *, record: dict[str, Any]) -> None:
    """Moves a complete result to its final name.

    A new item appears by one rename. An item that exists loses its record first, then
    its files are replaced one by one, the record last; files of other origin stay.

    Args:
        staging: Folder with all files of the result, on the same file system.
        folder: Final folder of the item.
        record: Contents of ``run.json``.

    Raises:
        OutputError: The final folder cannot be written.
    """
    with atomic_write(staging / RECORD) as stream:
        stream.write(json.dumps(record, indent=1).encode())
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        for path in staging.iterdir():
            _fsync(path)
        if not folder.exists():
            staging.rename(folder)
            fsync_directory(folder.parent)
            return
        old = read_record(folder)
        (folder / RECORD).unlink(missing_ok=True)
        fsync_directory(folder)
        names = {p.name for p in staging.iterdir()}
        for name in sorted(names - {RECORD}):
            (staging / name).replace(folder / name)
        for name in set(old.get("files", []) if old else []) - names:
            if "/" not in name and name not in (".", ".."):
                (folder / name).unlink(missing_ok=True)
        fsync_directory(folder)
        (staging / RECORD).replace(folder / RECORD)
        fsync_directory(folder)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_work(folder: Path, *, keep: Path | None = None) -> None:
    """Removes work files of a published item; the lock file stays, so that it keeps its meaning.

    Args:
        folder: The item's work folder.
        keep: A run's folder inside it whose finished blocks are still wanted.
    """
    for path in folder.iterdir():
        if path.is_dir() and path != keep:
            shutil.rmtree(path, ignore_errors=True)
