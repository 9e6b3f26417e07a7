"""Two-stage bundles through the whole run: one mask, to the last byte, and it is the one that arithmetic gives."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine
from rich.console import Console
from scipy.ndimage import binary_dilation

from flows.commands.label import label_images
from flows.pipeline import run_item
from flows.places import opened_place
from flows.plan import plan_image
from flows.progress import Quiet
from flows.request import make_request
from flows.runner import DirectRunner
from segmodels.bundles.bundle import load_bundle
from segmodels.bundles.stages import write_two_stage

HEIGHT, WIDTH, MARGIN, NODATA = 230, 190, 9, 255
#: No mean of up to 49 whole numbers comes near a level of the coarse stage.
COARSE, FINE = 900.53, 600.5


def write_image(path: Path) -> np.ndarray:
    """Hills, of which the west alone reaches the coarse level, with a hole; the first row's values are all valid."""
    rng = np.random.default_rng(1)
    values = np.kron(rng.integers(1, 1000, (23, 19)), np.ones((10, 10))) + rng.integers(0, 9, (230, 190))
    values[:, 80:] = np.minimum(values[:, 80:], 800)
    values[150:180, 30:120] = 0
    values = values.astype("uint16")
    with rasterio.open(
        path, "w", driver="GTiff", height=HEIGHT, width=WIDTH, count=1, dtype="uint16", nodata=0, tiled=True,
        blockxsize=64, blockysize=64, crs="EPSG:32632", transform=Affine(10, 0, 5e5, 0, -10, 5e6),
    ) as target:  # fmt: skip
        target.write(values, 1)
    return values


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "hills.tif"
    write_image(path)
    return path


@pytest.fixture(scope="module")
def stages(make_bundle: Callable[..., Path]) -> tuple[Path, Path]:
    coarse = make_bundle((COARSE,), steepness=0.01, tile=(48, 48), overlap=0.25, name="finder")
    return coarse, make_bundle((FINE,), steepness=0.01, tile=(32, 32), overlap=0.5, blend="gaussian")


@pytest.fixture(scope="module")
def both(stages: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_two_stage(tmp_path_factory.mktemp("two") / "both", *stages, margin=(MARGIN,)).path


def go(image: Path, model: Path, out: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    """A run as plain functions, and its record."""
    request = make_request(image=image, model=str(model), out=out, server=False, **options)
    with opened_place("threads", workers=request.workers) as place:
        result = run_item(request, runner=DirectRunner(place), progress=Quiet())
    return result, json.loads((result.out / "run.json").read_bytes())


def read(folder: Path) -> np.ndarray:
    with rasterio.open(folder / "mask.tif") as file:
        return file.read(1)


def region(values: np.ndarray, level: float, margin: int) -> np.ndarray:
    return binary_dilation(values > level, np.ones((2 * margin + 1,) * values.ndim))


@pytest.fixture(scope="module")
def expected(image: Path) -> np.ndarray:
    """Above the fine level within the margin of what is above the coarse one; a hole stays a hole."""
    with rasterio.open(image) as file:
        values = file.read(1)
    return np.where(values == 0, NODATA, np.where(region(values, COARSE, MARGIN), values > FINE, 0)).astype(
        np.uint8
    )


@pytest.fixture(scope="module")
def undisturbed(image: Path, both: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return go(image, both, tmp_path_factory.mktemp("undisturbed"), block=64)[0].out


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("mask.tif", "regions.csv", "regions.parquet")}


def test_the_mask_is_the_fine_stages_in_the_region(
    undisturbed: Path, expected: np.ndarray, both: Path
) -> None:
    np.testing.assert_array_equal(read(undisturbed), expected)
    assert {0, 1, NODATA} == set(np.unique(expected).tolist())
    record = json.loads((undisturbed / "run.json").read_bytes())
    found, bundle = record["region_of_interest"], load_bundle(both)
    assert record["status"] == "done"
    assert (record["bundle"]["digest"], found["name"]) == (bundle.digest, "finder")
    assert found["digest"] == load_bundle(both / "stages" / "coarse").digest
    assert (found["classes"], found["margin"], found["coarsen"]) == (["middle"], [MARGIN] * 2, [1, 1])
    assert found["engine"]["name"] == "method"
    assert 0 < found["tiles"] < 0.8 * found["tiles_full"]
    with rasterio.open(undisturbed / "mask.tif") as file:
        assert bundle.digest in file.tags()["SEGFLOW_BUNDLE"]
    report = (undisturbed / "report.html").read_text()
    assert "Region of interest" in report


@pytest.mark.parametrize("options", [{"block": 1, "workers": 3}, {"block": 10_000}, {"memory": "1.2GB"}])
def test_the_same_bytes_however_it_is_cut(
    image: Path, both: Path, undisturbed: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    result, record = go(image, both, tmp_path, **options)
    assert content(result.out) == content(undisturbed)
    assert go(image, both, tmp_path, **options)[0].already_done
    left = {p.name for p in (tmp_path / ".segflow" / "hills").iterdir()}
    assert left <= {"owner.lock", "owner.json"}
    if "memory" in options:
        assert record["plan"]["peak_memory_bytes"] <= 1.2e9


def test_only_tiles_of_the_region_are_run(
    image: Path, both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segmodels.methods.method import Linear

    seen: dict[tuple[int, ...], int] = {}
    original = Linear.logits

    def counting(self: Linear, x: Any) -> Any:
        key = (*x.shape[1:-1],)
        seen[key] = seen.get(key, 0) + int((np.abs(x).max(axis=tuple(range(1, x.ndim))) > 0).sum())
        return original(self, x)

    monkeypatch.setattr(Linear, "logits", counting)
    from tasks.blocks import session

    session._engine.cache_clear()
    _, record = go(image, both, tmp_path, block=64, workers=1)
    session._engine.cache_clear()
    found = record["region_of_interest"]
    assert seen[(48, 48)] == found["coarse_tiles"]
    # No tile fits into the hole, so all of the region's are run.
    assert seen[(32, 32)] == found["tiles"]
    assert record["plan"]["tiles"] == found["tiles_full"]


@pytest.mark.parametrize("coarsen", [3, 7])
def test_the_coarse_stage_may_see_means(
    image: Path, stages: tuple[Path, Path], tmp_path: Path, coarsen: int
) -> None:
    both = write_two_stage(
        tmp_path / "both", *stages, margin=(4,), coarsen=(coarsen,), roi_classes=["middle"]
    )
    result, record = go(image, both.path, tmp_path / "out", block=64)
    with rasterio.open(image) as file:
        values = file.read(1).astype(np.float64)
    values[values == 0] = np.nan
    rows, columns = -(-HEIGHT // coarsen), -(-WIDTH // coarsen)
    wide = np.full((rows * coarsen, columns * coarsen), np.nan)
    wide[:HEIGHT, :WIDTH] = values
    boxes = wide.reshape(rows, coarsen, columns, coarsen).transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    known = ~np.isnan(boxes)
    means = np.nansum(boxes, axis=-1) / np.maximum(known.sum(axis=-1), 1)
    large = np.kron(means > COARSE, np.ones((coarsen, coarsen), bool))[:HEIGHT, :WIDTH]
    inside = binary_dilation(large, np.ones((9, 9)))
    want = np.where(np.isnan(values), NODATA, np.where(inside, values > FINE, 0))
    np.testing.assert_array_equal(read(result.out), want)
    assert record["region_of_interest"]["coarsen"] == [coarsen] * 2
    other, _ = go(image, both.path, tmp_path / "other", block=20, workers=1)
    assert content(other.out) == content(result.out)
    part, _ = go(image, both.path, tmp_path / "out", window="31:117,13:160")
    np.testing.assert_array_equal(read(part.out), want[31:117, 13:160])


def test_a_preview_equals_the_whole(image: Path, both: Path, expected: np.ndarray, tmp_path: Path) -> None:
    result, record = go(image, both, tmp_path, window="100:200,20:130")
    np.testing.assert_array_equal(read(result.out), expected[100:200, 20:130])
    assert record["region_of_interest"]["coarse_tiles"] < 25


def test_nothing_found_is_no_error(
    image: Path, stages: tuple[Path, Path], make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    blind = make_bundle((5000.0,), steepness=0.01, tile=(48, 48), name="blind")
    both = write_two_stage(tmp_path / "both", blind, stages[1])
    result, record = go(image, both.path, tmp_path / "out")
    with rasterio.open(image) as file:
        values = file.read(1)
    np.testing.assert_array_equal(read(result.out), np.where(values == 0, NODATA, 0))
    assert (result.status, result.exit_code) == ("done", 0)
    assert record["region_of_interest"]["pixels"] == record["region_of_interest"]["tiles"] == 0
    assert any("blind found no middle in" in w and "the whole mask is low" in w for w in result.warnings)


def test_what_the_coarse_stage_cannot_read_is_looked_at(
    both: Path, image: Path, expected: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.blocks import segment

    original, broken = segment._predict, [True]

    def failing(held: Any, engine: Any, canvas: Any) -> None:
        if broken[0] and held.inputs.shape[1] == 48:
            for tile in held.tiles:
                canvas.fail(tile, "no luck") if tile == (0, 4) else None
            good = [i for i, tile in enumerate(held.tiles) if tile != (0, 4)]
            inputs = np.zeros_like(held.inputs)
            inputs[: len(good)] = held.inputs[good]
            held = type(held)([held.tiles[i] for i in good], [held.valid[i] for i in good], inputs)
        original(held, engine, canvas)

    monkeypatch.setattr(segment, "_predict", failing)
    result, record = go(image, both, tmp_path, block=64)
    assert (result.status, result.exit_code) == ("partial", 4)
    assert record["region_of_interest"]["coarse_failed_tiles"] == 1
    assert any("1 of 35 tiles of the coarse stage finder failed" in w for w in result.warnings)
    more = read(result.out) != expected
    # That tile's pixels, and the margin: columns from 4 · 36 on.
    assert more.any()
    assert not more[48 + MARGIN :].any()
    assert not more[:, : 144 - MARGIN].any()
    broken[0] = False
    again, record = go(image, both, tmp_path, block=64)
    assert again.status == "done"
    np.testing.assert_array_equal(read(again.out), expected)


def test_a_plan_prices_both_stages_and_leaves_nothing(image: Path, both: Path, tmp_path: Path) -> None:
    priced = plan_image(image, both, tmp_path / "out", block=64, server=False).as_json()
    assert priced["coarse"]["model"]["name"] == "finder"
    assert priced["coarse"]["tiles"] == 35
    assert priced["region_of_interest"] is None
    assert priced["seconds"]["total"] >= priced["seconds"]["coarse"] > 0
    assert priced["memory_bytes"]["host"] >= priced["coarse"]["memory_bytes"]["host"]
    disk = sum(priced["disk_bytes"].values())
    assert disk > sum(priced["coarse"]["disk_bytes"].values())
    assert not any(tmp_path.iterdir())
    _, record = go(image, both, tmp_path / "out", block=64)
    assert record["plan"]["peak_memory_bytes"] == priced["memory_bytes"]["host"]


def test_labelling_takes_it(image: Path, both: Path, expected: np.ndarray, tmp_path: Path) -> None:
    answer = label_images(
        Console(quiet=True), [image], model=str(both), out=tmp_path / "set", direct=True, debug=False
    )
    assert answer["exit_code"] == 0
    with rasterio.open(answer["items"]["hills"]["mask"]) as file:
        np.testing.assert_array_equal(file.read(1), expected)


@pytest.mark.slow  # a process per kill
def test_kills_change_nothing(
    image: Path, both: Path, undisturbed: Path, segflow: Any, tmp_path: Path
) -> None:
    options = ("--block", 64)
    kills = (
        "segmenting block-*:7",
        "opened region.json",
        "fsynced region.json",
        "renamed region.json",
        "renamed plan.json",
        "segmenting block-*:9",
        "publishing",
    )
    stats: list[int] = []
    for point in kills:
        killed = segflow.given(SEGFLOW_CRASH_AT=point).run(image, both, tmp_path, *options)
        assert killed.code == -signal.SIGKILL, killed.error
        assert not (tmp_path / "hills").exists()
        stats.append(len(list(tmp_path.glob(".segflow/hills/*/blocks/*.blk"))))
    done = segflow.run(image, both, tmp_path, *options)
    assert done.code == 0, done.error
    assert content(done.folder) == content(undisturbed)
    assert stats[0] >= 4
    assert done.answer["reused_blocks"] == done.answer["blocks"]
    left = {p.name for p in (tmp_path / ".segflow" / "hills").iterdir()}
    assert left <= {"owner.lock", "owner.json"}


@pytest.mark.slow  # Prefect's server and a cluster start
def test_prefect_and_dask_give_the_same_bytes(
    image: Path, both: Path, undisturbed: Path, segflow: Any, tmp_path: Path
) -> None:
    done = segflow(
        "run", image, "--model", both, "--json", "--block", 64, "--out", tmp_path, "--runner", "dask"
    )
    assert done.code == 0, done.error
    assert content(done.folder) == content(undisturbed)


def test_the_command_makes_one_and_refuses(
    stages: tuple[Path, Path], make_bundle: Callable[..., Path], segflow: Any, tmp_path: Path
) -> None:
    made = segflow(
        "models", "two-stage", "otsu", stages[1], "--out", tmp_path / "b", "--margin", "4,6",
        "--coarsen", 2, "--roi-classes", "bright", "--json",
    )  # fmt: skip
    assert made.code == 0, made.error
    assert made.answer["roi"] == {"classes": ["bright"], "margin": [4, 6], "coarsen": [2, 2]}
    assert load_bundle(tmp_path / "b").digest == made.answer["digest"]
    refused = segflow(
        "models", "two-stage", *stages, "--out", tmp_path / "c", "--roi-classes", "brigt", "--json"
    )
    assert refused.code == 3
    assert "no class 'brigt'" in refused.output + refused.error
    assert not (tmp_path / "c").exists()


def test_bone_is_segmented_where_means_are_dense(
    shared_data: Path, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    """Real CT: denser than 150 HU within 2 and 4 voxels of where 4 by 4 voxels are denser than 250 on average."""
    path = shared_data / "ct-organs/example_ct.nii.gz"
    coarse = make_bundle((250.53,), ndims=(3,), steepness=0.05, tile=(16, 16, 16), name="dense")
    fine = make_bundle((150.5,), ndims=(3,), steepness=0.05, tile=(16, 16, 16), overlap=0.25)
    both = write_two_stage(tmp_path / "both", coarse, fine, margin=(2, 4, 4), coarsen=(1, 4, 4))
    result, record = go(path, both.path, tmp_path / "out")
    values = canonical(path)
    mask = canonical(result.out / "mask.nii.gz")
    z, y, x = values.shape
    wide = np.full((z, -(-y // 4) * 4, -(-x // 4) * 4), np.nan)
    wide[:, :y, :x] = values
    boxes = wide.reshape(z, wide.shape[1] // 4, 4, wide.shape[2] // 4, 4)
    dense = np.kron(np.nanmean(boxes, axis=(2, 4)) > 250.53, np.ones((1, 4, 4), bool))[:, :y, :x]
    inside = binary_dilation(dense, np.ones((5, 9, 9)))
    np.testing.assert_array_equal(mask, inside & (values > 150.5))
    found = record["region_of_interest"]
    assert found["pixels"] == inside.sum()
    assert 0 < found["tiles"] < found["tiles_full"]
    assert (mask != (values > 150.5)).any()


def canonical(path: Path) -> np.ndarray:
    """A volume as superior, anterior, right."""
    return np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj).transpose(2, 1, 0).astype(float)
