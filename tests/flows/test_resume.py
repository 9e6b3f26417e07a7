"""Killed, repeated, doubled and corrupted runs end in the very same bytes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

BLOCKS = ("--block", 64)
HEIGHT, WIDTH = 430, 390


def write_image(path: Path, *, seed: int) -> Path:
    """Smooth hills with a hole of nodata, so that blocks have seams, regions and gaps in common."""
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.integers(1, 1000, (HEIGHT // 10, WIDTH // 10)), np.ones((10, 10)))
    values = (coarse + rng.integers(0, 200, coarse.shape)).astype("uint16")
    values[200:260, 150:260] = 0
    with rasterio.open(
        path, "w", driver="GTiff", height=HEIGHT, width=WIDTH, count=1, dtype="uint16", nodata=0,
        tiled=True, blockxsize=128, blockysize=128, crs="EPSG:32632", transform=Affine(10, 0, 5e5, 0, -10, 5e6),
    ) as target:  # fmt: skip
        target.write(values, 1)
    return path


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image(tmp_path_factory.mktemp("images") / "hills.tif", seed=1)


@pytest.fixture(scope="module")
def bundle(make_bundle: Callable[..., Path]) -> Path:
    return make_bundle((600.5,), steepness=0.01, tile=(32, 32), overlap=0.5, blend="gaussian")


@pytest.fixture(scope="module")
def undisturbed(image: Path, bundle: Path, segflow: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished item; tests must not change it."""
    done = segflow.run(image, bundle, tmp_path_factory.mktemp("undisturbed"), *BLOCKS)
    assert done.code == 0, done.error
    assert done.answer["blocks"] >= 40
    return done.folder


def content(folder: Path) -> dict[str, bytes]:
    """What must not depend on how the run went."""
    return {name: (folder / name).read_bytes() for name in ("mask.tif", "regions.csv", "regions.parquet")}


def block_files(out: Path) -> list[Path]:
    return sorted(out.glob(".segflow/hills/*/blocks/*.blk"))


def stopped(start: Callable[[], Any], ready: Callable[[], bool], out: Path) -> None:
    """Starts a run and kills it as soon as ``ready``; never must an item be seen without its record."""
    process = start()
    try:
        end = time.monotonic() + 120
        while not ready():
            assert not (out / "hills").exists() or (out / "hills" / "run.json").exists()
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.002)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.fixture
def begun(image: Path, bundle: Path, segflow: Any, tmp_path: Path) -> Path:
    """An output folder in which a run was killed after some of its blocks."""
    out = tmp_path / "out"
    stopped(
        lambda: segflow.start("run", image, "-m", bundle, "-o", out, "--direct", *BLOCKS),
        lambda: len(block_files(out)) >= 6,
        out,
    )
    assert not (out / "hills").exists()
    return out


def test_a_killed_run_is_continued(
    begun: Path, image: Path, bundle: Path, segflow: Any, undisturbed: Path
) -> None:
    finished = len(block_files(begun))
    done = segflow.run(image, bundle, begun, *BLOCKS)
    assert done.code == 0, done.error
    assert done.answer["blocks"] > done.answer["reused_blocks"] == finished >= 6
    assert content(done.folder) == content(undisturbed)
    record = json.loads((done.folder / "run.json").read_bytes())
    assert record["blocks"]["reused"] == finished
    left = {p.name for p in (begun / ".segflow" / "hills").iterdir()}
    assert left <= {"owner.lock", "owner.json"}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 7)


def test_damaged_blocks_are_computed_again(
    begun: Path, image: Path, bundle: Path, segflow: Any, undisturbed: Path
) -> None:
    files = block_files(begun)
    flip(files[0])
    cut(files[1])
    files[2].write_bytes(b"")
    (files[0].parent / f".{files[0].name}.1.part").write_bytes(b"torn")
    done = segflow.run(image, bundle, begun, *BLOCKS)
    assert done.code == 0, done.error
    assert done.answer["reused_blocks"] == len(files) - 3
    assert content(done.folder) == content(undisturbed)


STAGES = {
    "plan": lambda out: any(out.glob(".segflow/hills/*/plan.json")),
    "stitch": lambda out: any(out.glob(".segflow/hills/*/result/mask.tif*")),
    "regions": lambda out: any(out.glob(".segflow/hills/*/result/mask.tif")),
    "report": lambda out: any(out.glob(".segflow/hills/*/result/summary.json")),
    "publish": lambda out: any(out.glob(".segflow/hills/*/result/run.json")) or (out / "hills").exists(),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_run_may_be_killed_in_any_stage(
    stage: str, image: Path, bundle: Path, segflow: Any, tmp_path: Path, undisturbed: Path
) -> None:
    stopped(
        lambda: segflow.start("run", image, "-m", bundle, "-o", tmp_path, "--direct", *BLOCKS),
        lambda: STAGES[stage](tmp_path),
        tmp_path,
    )
    finished = len(block_files(tmp_path))
    done = segflow.run(image, bundle, tmp_path, *BLOCKS)
    assert done.code == 0, done.error
    assert done.answer["reused_blocks"] >= finished
    assert stage == "plan" or done.answer["reused_blocks"] == done.answer["blocks"]
    assert content(done.folder) == content(undisturbed)


@pytest.mark.slow
def test_a_run_may_be_killed_while_it_replaces_a_result(
    image: Path, bundle: Path, segflow: Any, tmp_path: Path, undisturbed: Path
) -> None:
    shutil.copytree(undisturbed, tmp_path / "hills")
    stopped(
        lambda: segflow.start("run", image, "-m", bundle, "-o", tmp_path, "--direct", "--force"),
        lambda: len(block_files(tmp_path)) > 0,
        tmp_path,
    )
    assert content(tmp_path / "hills") == content(undisturbed)
    done = segflow.run(image, bundle, tmp_path, "--force")
    assert (done.code, done.answer["already_done"]) == (0, False)
    assert content(done.folder) == content(undisturbed)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("--block", 1, "--workers", 4), marks=pytest.mark.slow),
        ("--block", 100, "--workers", 1),
        ("--block", 100000, "--workers", 3),
    ],
)
def test_bytes_depend_on_neither_blocks_nor_workers(
    options: tuple[object, ...], image: Path, bundle: Path, segflow: Any, tmp_path: Path, undisturbed: Path
) -> None:
    done = segflow.run(image, bundle, tmp_path, *options)
    assert done.code == 0, done.error
    first = json.loads((undisturbed / "run.json").read_bytes())
    assert done.answer["blocks"] != first["blocks"]["total"]
    assert content(done.folder) == content(undisturbed)


def states(folder: Path) -> dict[str, tuple[int, int]]:
    return {p.name: (p.stat().st_mtime_ns, p.stat().st_ino) for p in folder.iterdir()}


def test_what_is_done_is_done_and_what_changed_is_not(
    image: Path, bundle: Path, segflow: Any, tmp_path: Path, undisturbed: Path
) -> None:
    own = tmp_path / "hills.tif"
    shutil.copy(image, own)
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out / "hills")
    (out / "hills" / "notes.txt").write_text("mine")
    before = states(out / "hills")

    # The same bytes elsewhere are the same input, whatever the blocks.
    again = segflow.run(own, bundle, out, "--block", 96)
    assert (again.code, again.answer["already_done"], again.answer["status"]) == (0, True, "done")
    assert again.answer["blocks"] == again.answer["reused_blocks"]
    assert states(out / "hills") == before

    forced = segflow.run(own, bundle, out, *BLOCKS, "--force")
    assert (forced.code, forced.answer["already_done"], forced.answer["reused_blocks"]) == (0, False, 0)
    assert states(out / "hills") != before
    assert content(out / "hills") == content(undisturbed)

    other = segflow.run(own, bundle, out, *BLOCKS, "--overlap", 8)
    assert (other.code, other.answer["already_done"], other.answer["reused_blocks"]) == (0, False, 0)
    parameters = json.loads((out / "hills" / "run.json").read_bytes())["parameters"]
    assert parameters["overlap"] == [8, 8]

    write_image(own, seed=2)
    changed = segflow.run(own, bundle, out, *BLOCKS, "--overlap", 8)
    assert (changed.code, changed.answer["already_done"], changed.answer["reused_blocks"]) == (0, False, 0)
    assert (out / "hills" / "mask.tif").read_bytes() != content(undisturbed)["mask.tif"]
    assert (out / "hills" / "notes.txt").read_text() == "mine"


def test_another_input_cannot_take_an_items_name(
    bundle: Path, segflow: Any, tmp_path: Path, undisturbed: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out / "hills")
    before = states(out / "hills")
    stranger = tmp_path / "elsewhere" / "hills.tif"
    stranger.parent.mkdir()
    write_image(stranger, seed=3)
    for options in ((), ("--force",)):
        refused = segflow.run(stranger, bundle, out, *options)
        assert refused.code == 3, refused.output
        assert refused.answer["status"] == "failed"
        assert len(refused.complaints) == 1
        assert "already holds the result of" in refused.error
        assert "--item" in refused.error
        assert states(out / "hills") == before


def test_one_output_has_one_owner(
    image: Path, bundle: Path, segflow: Any, tmp_path: Path, undisturbed: Path
) -> None:
    first = segflow.start("run", image, "-m", bundle, "-o", tmp_path, "--direct", "--json", *BLOCKS)
    try:
        while not block_files(tmp_path):
            assert first.poll() is None, first.communicate()
            time.sleep(0.002)
        # Stopped, the owner is alive and cannot finish before the second run has answered.
        os.kill(first.pid, signal.SIGSTOP)
        second = segflow.run(image, bundle, tmp_path, *BLOCKS)
        os.kill(first.pid, signal.SIGCONT)
        output, error = first.communicate(timeout=120)
    finally:
        if first.poll() is None:
            first.kill()
            first.communicate()
    assert second.code == 6
    assert second.answer["exit_code"] == 6
    (sentence,) = second.complaints
    assert sentence.startswith("segflow: another run")
    assert f"process {first.pid} on " in sentence
    assert first.returncode == 0, error
    assert json.loads(output)["status"] == "done"
    assert content(tmp_path / "hills") == content(undisturbed)


def test_a_refused_run_leaves_the_owners_files_alone(
    image: Path, bundle: Path, segflow: Any, tmp_path: Path
) -> None:
    """The owner is still reading its statistics: it has a lock and scratch files, but no block yet."""
    from tasks.publishing.ownership import owned

    work = tmp_path / ".segflow" / "hills"
    with owned(work, item="hills"):
        (work / "scratch").mkdir()
        (work / "scratch" / "inflated").write_bytes(b"in use")
        lock = (work / "owner.lock").stat().st_ino
        refused = segflow.run(image, bundle, tmp_path, "--overlap", 4000)
        assert refused.code in (2, 6)
        assert (work / "scratch" / "inflated").read_bytes() == b"in use"
        assert (work / "owner.lock").stat().st_ino == lock
