"""``segflow plan`` and ``--memory``: what is shown is what runs, nothing is left, and the mask stays."""

from __future__ import annotations

import inspect
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from flows.commands.plan import plan
from flows.commands.run import run
from segmodels.bundles.card import Card, ChannelCard, ClassCard
from segmodels.bundles.write import write_bundle
from segmodels.methods.method import Linear


def write_scene(path: Path, size: int, *, hole: bool = False) -> Path:
    rng = np.random.default_rng(3)
    values = (np.kron(rng.integers(1, 200, (size // 10, size // 10)), np.ones((10, 10)))).astype("uint8")
    if hole:
        values[: size // 2] = 0
    with rasterio.open(
        path, "w", driver="GTiff", height=size, width=size, count=1, dtype="uint8", nodata=0, tiled=True,
        blockxsize=128, blockysize=128, crs="EPSG:32632", transform=Affine(10, 0, 5e5, 0, -10, 5e6),
    ) as target:  # fmt: skip
        target.write(values, 1)
    return path


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("scenes") / "scene.tif", 600)


@pytest.fixture(scope="module")
def bundle(make_bundle: Callable[..., Path]) -> Path:
    return make_bundle((100.5,), steepness=0.01, tile=(64, 64), overlap=0.25)


@pytest.fixture(scope="module")
def organs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """117 classes on one channel: class k wins between k and k + 1."""
    count = 117
    card = Card(
        name="organs",
        ndims=(3,),
        classes=tuple(ClassCard(name=f"c{k}", code=k, colour="#102030", region=k > 0) for k in range(count)),
        channels=(ChannelCard(name="ct"),),
        tile=(16, 16, 16),
        overlap=0.5,
    )
    method = Linear(
        weights=tuple((float(k),) for k in range(count)), bias=tuple(-k * (k + 0.0) / 2 for k in range(count))
    )
    folder = tmp_path_factory.mktemp("bundle") / "organs"
    golden = np.linspace(0, 116, 64, dtype=np.float32).reshape(1, 4, 4, 4, 1)
    write_bundle(folder, card=card, method=method, golden_input=golden)
    return folder


def everything_in(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


def test_the_plan_is_what_the_run_executes_and_leaves_nothing(
    scene: Path, bundle: Path, segflow: Any, tmp_path: Path
) -> None:
    options = (scene, "-m", bundle, "-o", tmp_path / "not" / "there", "--block", 192, "--direct")
    planned = segflow("plan", *options, "--json")
    assert planned.code == 0, planned.error
    assert everything_in(tmp_path) == set()
    assert everything_in(scene.parent) == {"scene.tif"}
    done = segflow("run", *options, "--json")
    assert done.code == 0, done.error
    record = json.loads((done.folder / "run.json").read_bytes())
    shown = planned.answer
    assert shown["tile"] == record["parameters"]["tile"] == [64, 64]
    assert shown["overlap"] == record["parameters"]["overlap"] == [16, 16]
    assert shown["blend"] == record["parameters"]["blend"]
    # 600 pixels, steps of 48: 1 + ceil((600 - 64) / 48) tiles along each axis, four to a block.
    assert shown["tiles"] == record["plan"]["tiles"] == 13**2
    assert shown["blocks"] == record["blocks"]["total"] == 4**2
    assert shown["block"] == [4 * 48 + 16] * 2
    assert shown["forward_passes"] == shown["tiles"]
    assert shown["tiles_skipped"] == 0
    assert shown["memory_bytes"] == {"host": record["plan"]["peak_memory_bytes"], "gpu": None}
    assert sum(shown["disk_bytes"].values()) == record["plan"]["disk_bytes"]
    assert shown["engine"] == record["engine"]
    assert shown["statistics"] == record["statistics"]
    assert shown["source_bytes"] == 600 * 600
    # Blocks keep for one another what they decode.
    assert shown["decoded_bytes"] == 600 * 600
    assert shown["seconds"]["total"] == pytest.approx(
        sum(v for k, v in shown["seconds"].items() if k != "total"), abs=0.1
    )


@pytest.mark.slow
def test_the_table_fits_one_screen(scene: Path, bundle: Path, segflow: Any, tmp_path: Path) -> None:
    shown = segflow("plan", scene, "-m", bundle, cwd=tmp_path)
    assert shown.code == 0, shown.error
    assert everything_in(tmp_path) == set()
    assert len(shown.output.splitlines()) <= 24
    for word in ("tiles", "blocks", "memory", "disk", "time", "64 × 64"):
        assert word in shown.output


def test_plan_takes_every_option_of_run() -> None:
    assert list(inspect.signature(plan).parameters) == list(inspect.signature(run).parameters)


@pytest.mark.slow
def test_memory_changes_blocks_and_not_the_mask(
    scene: Path, bundle: Path, segflow: Any, tmp_path: Path
) -> None:
    masks = []
    for name, options in {"free": (), "tight": ("--memory", "850MB", "--workers", 16, "--block", 96)}.items():
        done = segflow.run(scene, bundle, tmp_path / name, *options)
        assert done.code == 0, done.error
        masks.append((done.folder / "mask.tif").read_bytes())
        record = json.loads((done.folder / "run.json").read_bytes())
        if options:
            assert record["plan"]["peak_memory_bytes"] <= 850_000_000
    assert masks[0] == masks[1]


def test_what_cannot_fit_is_refused_with_what_would(
    scene: Path, bundle: Path, segflow: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for command in ("plan", "run"):
        refused = segflow(command, scene, "-m", bundle, "-o", out, "--direct", "--json", "--memory", "300MB")
        assert refused.code == refused.answer["exit_code"] == 3
        assert "give --memory" in refused.answer["error"]
        needed = refused.answer["error"].split("give --memory ")[1].split()[0]
    accepted = segflow("plan", scene, "-m", bundle, "-o", out, "--direct", "--json", "--memory", needed)
    assert accepted.code == 0, accepted.error
    wrong = segflow("plan", scene, "-m", bundle, "-o", out, "--memory", "much")
    assert wrong.code == 2
    assert "--memory much is not an amount" in wrong.error


@pytest.mark.slow
def test_117_classes_from_end_to_end(organs: Path, segflow: Any, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 117, (20, 18, 25)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.diag([2.0, 1.0, 1.0, 1.0])), tmp_path / "ct.nii.gz")
    planned = segflow("plan", tmp_path / "ct.nii.gz", "-m", organs, "--json", "--blend", "crop", cwd=tmp_path)
    assert planned.code == 0, planned.error
    assert planned.answer["borders"] == "none"
    assert everything_in(tmp_path) == {"ct.nii.gz"}
    masks = []
    for blend in ("gaussian", "crop"):
        done = segflow.run(tmp_path / "ct.nii.gz", organs, tmp_path / blend, "--blend", blend)
        assert done.code == 0, done.error
        assert json.loads((done.folder / "run.json").read_bytes())["parameters"]["blend"] == blend
        masks.append(np.asarray(nib.load(done.folder / "mask.nii.gz").dataobj))
    # The largest of k·x - k²/2 is at k = x, whatever the blend.
    np.testing.assert_array_equal(masks[0], values)
    np.testing.assert_array_equal(masks[1], values)


def test_plan_from_python_says_the_same(scene: Path, bundle: Path, tmp_path: Path) -> None:
    from flows import plan_image

    preview = plan_image(image=scene, model=bundle, out=tmp_path / "out", tile=[128], memory="2GB")
    shown = preview.as_json()
    assert json.loads(json.dumps(shown)) == shown
    assert preview.plan.tile == (128, 128)
    assert shown["memory_bytes"]["host"] <= 2_000_000_000
    assert everything_in(tmp_path) == set()


def test_holes_are_said_to_be_skipped(bundle: Path, tmp_path: Path) -> None:
    from flows import plan_image

    image = write_scene(tmp_path / "holes.tif", 300, hole=True)
    assert plan_image(image=image, model=bundle, out=tmp_path / "out").tiles_skipped is None


def tree(pid: int) -> list[int]:
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            text = children.read_text()
        except OSError:
            continue  # the thread has ended
        for child in text.split():
            found += tree(int(child))
    return found


def pss(pid: int) -> int:
    total = 0
    for p in set(tree(pid)):
        try:
            lines = Path(f"/proc/{p}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # the process has ended
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's smaps_rollup")
@pytest.mark.parametrize("server", [False, True], ids=["direct", "prefect"])
def test_a_run_stays_within_the_memory_that_plan_printed(
    server: bool, make_bundle: Callable[..., Path], segflow: Any, tmp_path: Path
) -> None:
    image = write_scene(tmp_path / "scene.tif", 4000)
    bundle = make_bundle((100.5,), steepness=0.01, tile=(512, 512), overlap=0.25)
    how = () if server else ("--direct",)
    planned = segflow("plan", image, "-m", bundle, "-o", tmp_path / "out", "--json", *how)
    peak = 0
    with segflow.start("run", image, "-m", bundle, "-o", tmp_path / "out", "--json", *how) as process:
        while process.poll() is None:
            peak = max(peak, pss(process.pid))
            time.sleep(0.1)
        assert process.returncode == 0, process.communicate()
    assert 0 < peak <= planned.answer["memory_bytes"]["host"]
    assert math.isfinite(planned.answer["seconds"]["total"])


def test_a_previews_plan_counts_the_preview(scene: Path, bundle: Path, segflow: Any, tmp_path: Path) -> None:
    options = (scene, "-m", bundle, "-o", tmp_path, "--direct", "--json", "--block", 192)
    part = segflow("plan", *options, "--window", "0:60,0:60")
    assert part.code == 0, part.error
    # Steps of 48: tiles 0 and 1 of each axis begin before pixel 60; they read 112 pixels, of one 256-pixel cell.
    assert part.answer["tiles"] == part.answer["forward_passes"] == 2**2
    assert part.answer["blocks"] == 1
    assert part.answer["decoded_bytes"] == 256**2
