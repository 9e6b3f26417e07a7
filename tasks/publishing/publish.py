"""Publishing: a complete folder takes its final name, ``run.json`` last."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tasks.crash import crash_point
from tasks.errors import InputError
from tasks.files import atomic_write, fsync_directory, writing
from tasks.imagery.source import Named, Source
from tasks.work import WorkFolder

RECORD = "run.json"
#: Where the record of a result stays while its files are being replaced.
REPLACED = "replaced.json"
_KEYS = {"status", "input", "bundle", "parameters_digest", "files", "blocks", "warnings"}


def read_record(path: Path) -> dict[str, Any] | None:
    """A record, or None if there is none of ours: an item without it does not exist."""
    try:
        record = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return record if isinstance(record, dict) and record.keys() >= _KEYS else None


def check_item_free(work: WorkFolder, *, image: Named, digest: str) -> None:
    """Refuses an item id that is taken: by another input, or by files of other origin.

    Raises:
        InputError: Another file is published under this id, the folder holds files that no
            run wrote, or the image itself lies in it.
    """
    image = Source.of(image)
    final, item = work.final, work.item
    remedy = f"give {image} another --item name or another --out"
    if final.exists() and not final.is_dir():
        raise InputError(f"{final} is a file and the result needs a folder of this name: {remedy}")
    if any(final.resolve() in p.resolve().parents for p in image.paths):
        raise InputError(f"{image} lies in {final}, the folder of its own result: {remedy}")
    record = read_record(final / RECORD) or read_record(work.root / REPLACED)
    if record is None:
        if final.is_dir() and any(final.iterdir()):
            raise InputError(f"{final} holds files that are not a result of segflow: {remedy}")
        return
    held = record["input"]
    if held["path"] != image.where and held["digest"] != digest:
        raise InputError(f"item {item} in {work.out} already holds the result of {held['path']}: {remedy}")


def is_done(
    folder: Path, *, image_digest: str, bundle_digest: str, parameters_digest: str
) -> dict[str, Any] | None:
    """The record, if this very result is published and all its files are there; else None.

    A *partial* result is not done: running again retries its failed tiles.
    """
    record = read_record(folder / RECORD)
    if record is None or record["status"] == "partial":
        return None
    same = (
        record["input"]["digest"] == image_digest
        and record["bundle"]["digest"] == bundle_digest
        and record["parameters_digest"] == parameters_digest
    )
    return record if same and _all_there(folder, record["files"]) else None


def _all_there(folder: Path, files: dict[str, int]) -> bool:
    return all((folder / name).exists() and _size(folder / name) == n for name, n in files.items())


def _size(path: Path) -> int:
    """Of a file, or of all files of a folder (a mask in chunks)."""
    if path.is_dir():
        return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return path.stat().st_size


def publish(work: WorkFolder, *, record: dict[str, Any]) -> None:
    """Moves a complete result to its final name.

    A new item appears by one rename. An item that exists loses its record first, then
    its files are replaced one by one, folders as a whole, the record last; files of other origin stay.

    Args:
        work: Folders of the run; ``work.result`` holds all files of the result.
        record: Contents of ``run.json``, without ``files``: their names and sizes are added.

    Raises:
        OutputError: The final folder cannot be written.
    """
    staging, folder = work.result, work.final
    (staging / RECORD).unlink(missing_ok=True)
    files = {p.name: _size(p) for p in sorted(staging.iterdir())}
    with atomic_write(staging / RECORD) as stream:
        stream.write(json.dumps({**record, "files": files}, indent=1).encode())
    with writing(folder):
        for path in staging.rglob("*"):
            _fsync(path)
        crash_point("publishing")
        if not folder.exists():
            staging.rename(folder)
            fsync_directory(folder.parent)
        else:
            _replace(work, set(files))
        crash_point("published")


def _replace(work: WorkFolder, names: set[str]) -> None:
    folder, kept = work.final, work.root / REPLACED
    if read_record(folder / RECORD) is not None:
        # Kept until the end, so that a kill in between neither orphans files nor frees the id.
        (folder / RECORD).replace(kept)
        crash_point("replacing: the old record is away")
        fsync_directory(work.root)
        fsync_directory(folder)
    old = read_record(kept)
    for name in sorted(names):
        _put_away(work, name)
        (work.result / name).replace(folder / name)
        crash_point(f"replacing: {name} is new")
    for name in set(old["files"] if old else ()) - names:
        if Path(name).name == name != "..":
            _put_away(work, name)
            (folder / name).unlink(missing_ok=True)
    fsync_directory(folder)
    (work.result / RECORD).replace(folder / RECORD)
    crash_point("replacing: the record is new")
    fsync_directory(folder)
    kept.unlink(missing_ok=True)


def _put_away(work: WorkFolder, name: str) -> None:
    """Makes room for a folder, or for what follows it: by one rename, so that half of one is never seen."""
    path, away = work.final / name, work.root / f"{name}.replaced"
    shutil.rmtree(away, ignore_errors=True)
    if path.is_dir() and not path.is_symlink():
        path.rename(away)
        crash_point(f"replacing: the old {name} is away")
        shutil.rmtree(away, ignore_errors=True)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_work(folder: Path, *, keep: Collection[Path] = ()) -> None:
    """Removes work files of a published item; the lock file stays, so that it keeps its meaning.

    Args:
        folder: The item's work folder.
        keep: Folders inside it whose finished blocks, or region, are still wanted.
    """
    for path in folder.iterdir():
        if path.is_dir() and path not in keep:
            shutil.rmtree(path, ignore_errors=True)
        elif path.suffix == ".part":
            path.unlink(missing_ok=True)
