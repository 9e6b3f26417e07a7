"""The flows ``train-model`` and ``evaluate-dataset`` on Prefect's embedded server: steps, artifacts, kill, refusal."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tests.tasks.training.conftest import write_squares

pytestmark = pytest.mark.slow

CONFIG = """
name: squares
data: {layout: instances, validation: 0.3}
model: {architecture: unet, options: {filters: [4, 8]}}
patch: [32, 32]
batch: 2
steps: 160
every: 40
"""


def rows(home: Path, query: str) -> list[tuple[Any, ...]]:
    database = sqlite3.connect(f"file:{home}/prefect/prefect.db?mode=ro", uri=True)
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


def test_a_killed_training_flow_goes_on(fresh_segflow: Any, tmp_path: Path) -> None:
    data, config, out = write_squares(tmp_path / "data"), tmp_path / "squares.yaml", tmp_path / "out"
    config.write_text(CONFIG)
    arguments = ("train", config, "--dataset", data, "--out", out, "--json")
    with fresh_segflow.start(*arguments) as process:
        give_up = time.monotonic() + 200
        while not (out / "training" / "checkpoint.npz").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < give_up
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (out / "squares").exists()

    done = fresh_segflow(*arguments)
    assert done.code == 0, done.error
    assert done.answer["resumed_at"] in (40, 80, 120, 160)
    assert done.answer["steps"] == 160
    assert "Traceback" not in done.error
    home = fresh_segflow.home
    assert ("train squares", "COMPLETED") in rows(home, "select name, state_type from flow_run")
    assert rows(home, "select name from flow") == [("train-model",)]
    steps = rows(home, "select name from task_run where state_type = 'COMPLETED'")
    names = [name.rpartition("-")[0] for (name,) in steps]
    assert all(names.count(step) >= 1 for step in ("verify", "survey", "train", "score", "report", "bundle"))
    kinds = [kind for (kind,) in rows(home, "select type from artifact")]
    assert {"progress", "table", "markdown"} == set(kinds)
    ((table,),) = rows(home, "select data from artifact where type = 'table'")
    held_out = json.loads((out / "training" / "held_out.json").read_text())
    for row in held_out["pooled"]["classes"]:
        assert f"{row['iou']['value']:.3f} ({row['iou']['low']:.3f}" in table
    ((page,),) = rows(home, "select data from artifact where type = 'markdown'")
    assert page.count("data:image/png;base64,") == 2


def write_scenes(root: Path, scenes: int = 3) -> Path:
    """Noisy scenes and their truth: above 0.5, but for the first rows, which are wrong by one class."""
    rng = np.random.default_rng(4)
    for i in range(scenes):
        values = rng.random((40, 50)).astype(np.float32)
        truth = (values > 0.5).astype(np.uint8)
        truth[: 5 * i] ^= 1
        for folder, band in (("images", values), ("masks", truth)):
            path = root / "test" / folder / f"{i}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            profile = {"driver": "GTiff", "height": 40, "width": 50, "count": 1, "dtype": band.dtype.name}
            with rasterio.open(
                path, "w", transform=rasterio.Affine(2, 0, 0, 0, -2, 80), crs="EPSG:32633", **profile
            ) as f:
                f.write(band, 1)
    (root / "dataset.json").write_text(
        '{"layout": "geotiff", "classes": [{"name": "low"}, {"name": "middle"}]}'
    )
    return root


PROGRAM = """
import sys
from pathlib import Path
from prefect.exceptions import ParameterTypeError
from flows.evaluate_dataset import evaluate_dataset
from flows.train import train_model
from tasks.errors import UsageError

data, model, out = map(Path, sys.argv[1:])
for wrong in ({"tolerance": -1}, {"split": "tset"}, {"resamples": 5}):
    try:
        evaluate_dataset(dataset=data, model=str(model), out=out, **wrong)
    except ParameterTypeError as error:
        print(*wrong, list(wrong)[0] in str(error))
try:
    train_model(config="nucleus", out=out)
except UsageError as error:
    print(error)
"""


def test_an_evaluation_flow_and_what_is_refused(
    fresh_segflow: Any, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    data, model, out = (
        write_scenes(tmp_path / "data"),
        make_bundle((0.5,), steepness=1000.0),
        tmp_path / "out",
    )
    arguments = ("evaluate", data, "--model", model, "--split", "test", "--out", out, "--json")
    done = fresh_segflow(*arguments)
    assert done.code == 0, done.error
    wrong = (5 + 10) / (3 * 40)
    assert done.answer["overall"]["pixel_accuracy"]["value"] == pytest.approx(1 - wrong)
    assert "Traceback" not in done.error
    home = fresh_segflow.home
    runs = rows(home, "select name, state_type from flow_run")
    assert ("levels on data (test)", "COMPLETED") in runs
    assert sorted(name for name, _ in runs if name != "levels on data (test)") == [
        f"test__{i} with levels" if (out / "runs" / f"test__{i}").exists() else f"{i} with levels"
        for i in range(3)
    ]
    names = [name for (name,) in rows(home, "select name from task_run")]
    assert sum(name.startswith("score ") for name in names) == 3
    assert sum(name.startswith("write") for name in names) == 1
    ((page,),) = rows(
        home, "select data from artifact where type = 'markdown' and description like '%on data'"
    )
    assert f"{1 - wrong:.3f}" in page

    before = {p: p.stat().st_mtime_ns for p in out.rglob("run.json")}
    program = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(data), str(model), str(out)],
        env=fresh_segflow.environment, cwd=tmp_path, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert program.returncode == 0, program.stderr
    *checked, refused = program.stdout.splitlines()
    assert checked == ["tolerance True", "split True", "resamples True"]
    assert "neither a file nor a recipe nucleus" in refused
    assert {p: p.stat().st_mtime_ns for p in out.rglob("run.json")} == before
    states = rows(
        home,
        "select s.type, s.message from flow_run r join flow_run_state s on s.id = r.state_id where r.name = 'train nucleus'",
    )
    ((kind, message),) = states
    assert kind == "FAILED"
    assert refused in message
    assert "\n" not in message
