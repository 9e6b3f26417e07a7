"""A result that holds a folder: it is published, known and replaced as a whole, also through kills."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.crash import AT
from tasks.publishing.publish import RECORD, is_done, publish, read_record
from tasks.work import WorkFolder

RECORDED = {
    "status": "done",
    "input": {"digest": "i", "path": "x"},
    "bundle": {"digest": "b"},
    "parameters_digest": "p",
    "blocks": 1,
    "warnings": [],
}
CODE = """
import sys
from pathlib import Path
from tests.tasks.publishing.test_folders import put
put(Path(sys.argv[1]), sys.argv[2])
"""


def put(out: Path, text: str) -> None:
    """Publishes a mask in two chunks and a table."""
    work = WorkFolder(out, "item")
    chunks = work.result / "mask.ome.zarr" / "0"
    chunks.mkdir(parents=True, exist_ok=True)
    for name in ("a", "b"):
        (chunks / name).write_text(text)
    (work.result / "regions.csv").write_text(text)
    publish(work, record=RECORDED)


def content(out: Path) -> set[str]:
    return {p.read_text() for p in (out / "item").rglob("*") if p.is_file() and p.name != RECORD}


def done(out: Path) -> bool:
    found = is_done(out / "item", image_digest="i", bundle_digest="b", parameters_digest="p")
    return found is not None


def test_a_folder_is_part_of_what_is_done(tmp_path: Path) -> None:
    put(tmp_path, "first")
    record = read_record(tmp_path / "item" / RECORD)
    assert record is not None
    assert record["files"] == {"mask.ome.zarr": 10, "regions.csv": 5}
    assert done(tmp_path)
    (tmp_path / "item/mask.ome.zarr/0/b").unlink()
    assert not done(tmp_path)


def test_what_the_folder_held_before_is_gone(tmp_path: Path) -> None:
    put(tmp_path, "first")
    (tmp_path / "item/mask.ome.zarr/0/stray").write_text("first")
    put(tmp_path, "second")
    assert content(tmp_path) == {"second"}
    assert done(tmp_path)


@pytest.mark.parametrize(
    "point", ["replacing? the old mask.ome.zarr is away", "replacing? mask.ome.zarr is new"]
)
def test_a_kill_while_it_is_replaced(tmp_path: Path, point: str) -> None:
    put(tmp_path, "first")
    killed = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path), "second"], env={**os.environ, AT: point}, check=False
    )
    assert killed.returncode == -9
    # Without its record the item does not exist, so nobody takes its half for a result.
    assert not done(tmp_path)
    put(tmp_path, "third")
    assert content(tmp_path) == {"third"}
    assert done(tmp_path)
    assert not list(WorkFolder(tmp_path, "item").root.glob("*.replaced"))
