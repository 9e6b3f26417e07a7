"""The plain command on Prefect's embedded server, the flow from Python, and a shell loop over a series."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

NAIP = "naip/m_4709963_se_14_1_20190904.tif"
ITEM = Path(NAIP).stem
STEPS = {"plan": 1, "stitch": 1, "regions": 1, "report": 1, "publish": 1}


def servers(home: Path) -> list[int]:
    """Process ids of Prefect servers started with this home."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"embedded.py" in (process / "cmdline").read_bytes():
                ours = f"HOME={home}/".encode() in (process / "environ").read_bytes().split(b"\0")
                found += [int(process.name)] * ours
        except OSError:
            continue  # gone in the meantime
    return found


def rows(home: Path, query: str) -> list[tuple[Any, ...]]:
    database = sqlite3.connect(f"file:{home}/prefect/prefect.db?mode=ro", uri=True)
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


def test_the_plain_command_runs_as_a_flow(shared_data: Path, fresh_segflow: Any, tmp_path: Path) -> None:
    cwd = tmp_path / "empty"
    cwd.mkdir()
    out = tmp_path / "out"
    arguments = ("run", shared_data / NAIP, "--model", "water-ndwi", "--out", out, "--json", "--block", 512)
    done = fresh_segflow(*arguments, cwd=cwd)
    assert done.code == 0, done.error
    assert len(done.output.splitlines()) == 1
    assert json.loads(done.output)["status"] == "done"
    assert done.complaints == []
    for word in ("Traceback", "Warning", "WARNING", "ERROR", "CancelledError"):
        assert word not in done.error
    assert list(cwd.iterdir()) == []
    assert servers(fresh_segflow.home) == []

    home = fresh_segflow.home
    assert rows(home, "select name, state_type from flow_run") == [(f"{ITEM} with water-ndwi", "COMPLETED")]
    assert rows(home, "select name from flow") == [("segment-image",)]
    states = rows(home, "select state_type, count(*) from task_run group by 1")
    assert states == [("COMPLETED", done.answer["blocks"] + len(STEPS))]
    names = sorted(name for (name,) in rows(home, "select name from task_run"))
    assert [n for n in names if n.startswith("block-")] == [
        f"block-{i}" for i in range(done.answer["blocks"])
    ]
    kinds = [kind for (kind,) in rows(home, "select type from artifact")]
    assert set(kinds) == {"progress", "table", "markdown"}
    ((progress,),) = set(rows(home, "select data from artifact where type = 'progress'"))
    assert float(progress) == 100

    again = fresh_segflow(*arguments, cwd=cwd)
    assert (again.code, again.answer["already_done"]) == (0, True)
    assert again.complaints == []
    assert len(rows(home, "select id from flow_run")) == 1

    direct = fresh_segflow.run(shared_data / NAIP, "water-ndwi", tmp_path / "direct")
    for name in ("mask.tif", "regions.csv", "summary.json"):
        assert (direct.folder / name).read_bytes() == (out / ITEM / name).read_bytes()


def test_a_refused_image_is_said_once(fresh_segflow: Any, shared_data: Path, tmp_path: Path) -> None:
    image = shared_data / "elevation" / "dtm.tif"
    done = fresh_segflow("run", image, "--model", "water-ndwi", "--out", tmp_path / "out", "--json")
    assert (done.code, done.answer["exit_code"]) == (3, 3)
    assert len(done.complaints) == 1
    assert not (fresh_segflow.home / "prefect" / "prefect.db").exists()


def test_a_batch_has_a_run_per_image(shared_data: Path, fresh_segflow: Any, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(shared_data / NAIP, folder)
    (folder / "bad.tif").write_text("no image")
    done = fresh_segflow("batch", folder, "--model", "water-ndwi", "--out", tmp_path / "out", "--json")
    assert (done.code, done.answer["count"]) == (4, {"done": 1, "failed": 1})
    assert "Traceback" not in done.error
    runs = rows(
        fresh_segflow.home, "select name, state_type, parent_task_run_id is null from flow_run order by 3"
    )
    assert runs == [
        (f"{ITEM} with water-ndwi", "COMPLETED", 0),
        ("in with water-ndwi", "COMPLETED", 1),
    ]
    assert servers(fresh_segflow.home) == []


PROGRAM = """
import sys
from flows import segment_image

result = segment_image(image=sys.argv[1], model="water-ndwi", out=sys.argv[2], block=512)
print(result.status, result.item, result.blocks, result.out, flush=True)
again = segment_image(image=sys.argv[1], model="water-ndwi", out=sys.argv[2])
print(again.status, again.already_done, flush=True)
"""


def test_the_flow_can_be_called_from_python(shared_data: Path, fresh_segflow: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(shared_data / NAIP), str(out)],
        env=fresh_segflow.environment, cwd=fresh_segflow.home, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads((out / ITEM / "run.json").read_bytes())
    blocks = record["blocks"]["total"]
    assert done.stdout.splitlines() == [f"done {ITEM} {blocks} {out / ITEM}", "done True"]
    assert "Traceback" not in done.stderr
    assert servers(fresh_segflow.home) == []


LOOP = """
for image in "$1"/*.tif; do
    "$2" run "$image" --model water-ndwi --out "$3" --direct --json || exit 9
done
"""


def test_a_series_in_a_shell_loop(shared_data: Path, fresh_segflow: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = str(Path(sys.executable).with_name("segflow"))

    def loop() -> list[dict[str, Any]]:
        done = subprocess.run(
            ["sh", "-c", LOOP, "sh", str(shared_data / "naip"), command, str(out)],
            env=fresh_segflow.environment, cwd=tmp_path, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    dates = sorted(p.stem for p in (shared_data / "naip").glob("*.tif"))
    assert len(dates) == 7
    first = loop()
    assert [(a["item"], a["status"], a["already_done"]) for a in first] == [(d, "done", False) for d in dates]
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    second = loop()
    assert [(a["item"], a["status"], a["already_done"]) for a in second] == [(d, "done", True) for d in dates]
    assert all(a["reused_blocks"] == a["blocks"] for a in second)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before
    assert {p.name for p in out.iterdir()} == {".segflow", *dates}
