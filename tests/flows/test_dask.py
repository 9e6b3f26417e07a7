"""Blocks on Dask workers: the same bytes, and what becomes of a block whose worker dies."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

pytestmark = pytest.mark.slow

SIDE = 200
OPTIONS = ("--block", 48, "--workers", 2)
LOST = 5


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "noise.tif"
    rng = np.random.default_rng(7)
    values = np.kron(rng.integers(1, 1200, (SIDE // 8, SIDE // 8)), np.ones((8, 8))).astype("uint16")
    with rasterio.open(
        path, "w", driver="GTiff", height=SIDE, width=SIDE, count=1, dtype="uint16",
        crs="EPSG:32632", transform=Affine(10, 0, 5e5, 0, -10, 5e6),
    ) as target:  # fmt: skip
        target.write(values, 1)
    return path


@pytest.fixture(scope="module")
def bundle(make_bundle: Callable[..., Path]) -> Path:
    return make_bundle((600.5,), steepness=0.01, tile=(32, 32), overlap=0.5, blend="gaussian")


@pytest.fixture(scope="module")
def mask(image: Path, bundle: Path, segflow: Any, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What threads make of it, with other blocks."""
    done = segflow.run(image, bundle, tmp_path_factory.mktemp("threads"), "--block", 128)
    assert done.code == 0, done.error
    return bytes((done.folder / "mask.tif").read_bytes())


def workers_of(home: Path) -> list[int]:
    """Spawned processes, Dask's workers among them, with this home."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"multiprocessing" in (process / "cmdline").read_bytes():
                ours = f"XDG_CACHE_HOME={home / 'cache'}".encode()
                found += [int(process.name)] * (ours in (process / "environ").read_bytes().split(b"\0"))
        except OSError:
            continue  # gone in the meantime
    return found


def test_a_worker_killed_in_a_block_costs_that_block_once(
    image: Path, bundle: Path, segflow: Any, tmp_path: Path, mask: bytes
) -> None:
    crash = {
        "SEGFLOW_CRASH_AT": f"written block-{LOST:08d}.blk",
        "SEGFLOW_CRASH_ONCE": tmp_path / "crashed",
    }
    done = segflow.given(**crash).run(image, bundle, tmp_path / "out", "--runner", "dask", *OPTIONS)
    assert (done.code, done.answer["status"]) == (0, "done"), done.error
    assert (tmp_path / "crashed").exists()
    assert done.complaints == []
    assert f"block {LOST} was computed again" in done.error
    assert done.error.count("computed again") == 1
    assert (done.folder / "mask.tif").read_bytes() == mask
    assert workers_of(segflow.home) == []
    left = {p.name for p in (tmp_path / "out" / ".segflow" / "noise").iterdir()}
    assert left <= {"owner.lock", "owner.json"}


def test_a_block_that_kills_three_workers_is_given_up(
    image: Path, bundle: Path, segflow: Any, tmp_path: Path, mask: bytes
) -> None:
    poisoned = segflow.given(SEGFLOW_CRASH_AT=f"segmenting block-{LOST:08d}")
    done = poisoned.run(image, bundle, tmp_path, "--runner", "dask", *OPTIONS)
    assert (done.code, done.answer["status"]) == (4, "partial"), done.error
    record = json.loads((done.folder / "run.json").read_bytes())
    reasons = {f["reason"] for f in record["failed_tiles"]}
    assert len(reasons) == 1
    assert f"block {LOST} killed its worker 3 times" in reasons.pop()
    assert any("killed its worker 3 times" in w for w in record["warnings"])
    with rasterio.open(done.folder / "mask.tif") as found:
        pixels = found.read(1)
    # Tiles start every 16 pixels, three of them to a block: four blocks a row, so block 5 is the second of
    # the second row; what its tiles cover has failed, and nothing else.
    tiles = {tuple(f["tile"]) for f in record["failed_tiles"]}
    failed = np.zeros_like(pixels, bool)
    for row, column in tiles:
        failed[row * 16 : row * 16 + 32, column * 16 : column * 16 + 32] = True
    assert np.array_equal(pixels == 254, failed)
    assert 0 < failed.sum() <= (2 * 16 + 32) ** 2

    again = segflow.run(image, bundle, tmp_path, "--runner", "dask", *OPTIONS)
    assert (again.code, again.answer["status"]) == (0, "done"), again.error
    assert again.answer["reused_blocks"] == again.answer["blocks"] - 1
    assert (again.folder / "mask.tif").read_bytes() == mask


def test_workers_end_with_a_killed_run(image: Path, bundle: Path, segflow: Any, tmp_path: Path) -> None:
    run = segflow.start(
        "run", image, "-m", bundle, "-o", tmp_path, "--direct", "--runner", "dask", "--block", 16
    )
    try:
        end = time.monotonic() + 120
        while not list(tmp_path.glob(".segflow/noise/*/blocks/*.blk")):
            assert run.poll() is None, run.communicate()
            assert time.monotonic() < end
            time.sleep(0.01)
        assert workers_of(segflow.home)
    finally:
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()
    end = time.monotonic() + 60
    while workers_of(segflow.home):
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture
def scheduler(segflow: Any, tmp_path: Path) -> Iterator[str]:
    """A scheduler and two workers, started elsewhere, as another machine would."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    file = elsewhere / "scheduler.json"
    local = ("--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", file)
    commands = [
        ("scheduler", *local, "--port", 0),
        *[("worker", *local, "--nthreads", 1, "--resources", "GPU=1")] * 2,
    ]
    with (elsewhere / "log").open("wb") as log:
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "dask", *map(str, command)],
                cwd=elsewhere, env=segflow.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
            for command in commands
        ]  # fmt: skip
        try:
            end = time.monotonic() + 60
            while not file.exists() or not file.read_text().endswith("}"):
                assert time.monotonic() < end, (elsewhere / "log").read_text()
                time.sleep(0.05)
            yield str(json.loads(file.read_bytes())["address"]).replace("tcp://", "dask://")
        finally:
            for process in reversed(started):
                process.terminate()
            for process in started:
                process.wait(60)


def test_a_running_cluster_serves_a_flow(
    image: Path, bundle: Path, fresh_segflow: Any, tmp_path: Path, mask: bytes, scheduler: str
) -> None:
    relative = os.path.relpath(tmp_path / "out", fresh_segflow.home)
    done = fresh_segflow(
        "run", image, "-m", bundle, "-o", relative, "--json", "--runner", scheduler, "--block", 48
    )
    assert (done.code, done.answer["status"]) == (0, "done"), done.error
    assert done.complaints == []
    assert (tmp_path / "out" / "noise" / "mask.tif").read_bytes() == mask
    database = sqlite3.connect(f"file:{fresh_segflow.home}/prefect/prefect.db?mode=ro", uri=True)
    states = database.execute("select state_type, count(*) from task_run group by 1").fetchall()
    database.close()
    assert states == [("COMPLETED", done.answer["blocks"] + 5)]

    (tmp_path / "out" / "noise" / "mask.tif").unlink()
    direct = fresh_segflow.run(image, bundle, tmp_path / "out", "--runner", scheduler, "--block", 64)
    assert (direct.code, direct.answer["already_done"]) == (0, False), direct.error
    assert (tmp_path / "out" / "noise" / "mask.tif").read_bytes() == mask


def test_no_scheduler_is_said_in_one_sentence(
    image: Path, bundle: Path, segflow: Any, tmp_path: Path
) -> None:
    wrong = segflow.run(image, bundle, tmp_path, "--runner", "dusk")
    assert wrong.code == 2
    assert len(wrong.complaints) == 1
