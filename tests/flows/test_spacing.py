"""Images of another spacing than the model's, from the command line to the published item."""

from __future__ import annotations

import csv
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

from flows.pipeline import run_item
from flows.places import opened_place
from flows.plan import plan_image
from flows.progress import Quiet
from flows.request import make_request
from flows.runner import DirectRunner
from segmodels.bundles.copying import copy_with_postprocess, parse_steps
from segmodels.bundles.stages import write_two_stage
from tests.tasks.resampling.on_lattice import by_scipy

HEIGHT, WIDTH, PIXEL, MODEL = 190, 170, 10.0, 16.0
LEVEL = 600.5
BLOCKS = ("--block", 40)


def go(image: Path, model: Path, out: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    """A run as plain functions, and its record."""
    request = make_request(image=image, model=str(model), out=out, server=False, **options)
    with opened_place("threads", workers=request.workers) as place:
        result = run_item(request, runner=DirectRunner(place), progress=Quiet())
    return result, json.loads((result.out / "run.json").read_bytes())


def read(folder: Path) -> np.ndarray:
    with rasterio.open(folder / "mask.tif") as file:
        return file.read(1)


@pytest.fixture(scope="module")
def hills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smooth hills with a hole of nodata."""
    rng = np.random.default_rng(1)
    values = np.kron(rng.integers(1, 1000, (19, 17)), np.ones((10, 10))) + rng.integers(
        0, 200, (HEIGHT, WIDTH)
    )
    values[100:130, 60:110] = 0
    path = tmp_path_factory.mktemp("images") / "hills.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=HEIGHT, width=WIDTH, count=1, dtype="uint16", nodata=0, tiled=True,
        blockxsize=64, blockysize=64, crs="EPSG:32632", transform=Affine(PIXEL, 0, 5e5, 0, -PIXEL, 5e6),
    ) as target:  # fmt: skip
        target.write(values.astype("uint16"), 1)
    return path


@pytest.fixture(scope="module")
def bundle(make_bundle: Callable[..., Path]) -> Path:
    return make_bundle(
        (LEVEL,), steepness=0.01, tile=(16, 16), overlap=0.5, blend="gaussian", spacing=(MODEL, MODEL)
    )


@pytest.fixture(scope="module")
def undisturbed(hills: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished item; tests must not change it."""
    result, record = go(hills, bundle, tmp_path_factory.mktemp("undisturbed"), block=1000)
    assert (result.status, result.blocks) == ("done", 1)
    said = "sampled at 16 × 16 m (y, x) from 10 × 10 m"
    assert (record["sampling"]["says"], record["sampling"]["shape"]) == (said, [119, 106])
    assert said in record["warnings"]
    assert "Model sees it" in (page := (result.out / "report.html").read_text())
    assert page.count(said) >= 2
    return result.out


def content(folder: Path) -> dict[str, bytes]:
    """What must not depend on how the run went."""
    return {name: (folder / name).read_bytes() for name in ("mask.tif", "regions.csv", "summary.json")}


@pytest.mark.parametrize(
    "options", [{"block": 16, "workers": 1}, {"block": 30, "workers": 2, "memory": "3GB"}]
)
def test_bytes_depend_on_neither_blocks_nor_workers(
    options: dict[str, Any], hills: Path, bundle: Path, undisturbed: Path, tmp_path: Path
) -> None:
    result, _ = go(hills, bundle, tmp_path, **options)
    assert result.blocks > 4
    assert content(result.out) == content(undisturbed)


@pytest.mark.parametrize("point", ["written block-*.blk:5", "written summary.json"])
def test_a_killed_run_is_continued(
    point: str, hills: Path, bundle: Path, undisturbed: Path, segflow: Any, tmp_path: Path
) -> None:
    died = segflow.given(SEGFLOW_CRASH_AT=point).run(hills, bundle, tmp_path, *BLOCKS)
    assert died.code == -signal.SIGKILL
    finished = len(list(tmp_path.glob(".segflow/hills/*/blocks/*.blk")))
    done = segflow.run(hills, bundle, tmp_path, *BLOCKS)
    assert done.code == 0, done.error
    assert done.answer["reused_blocks"] == finished >= 2
    assert content(done.folder) == content(undisturbed)
    again = segflow.run(hills, bundle, tmp_path)
    assert again.answer["already_done"]


def test_the_mask_is_that_of_scipy(hills: Path, undisturbed: Path) -> None:
    with rasterio.open(hills) as file:
        values, valid = file.read(1).astype(float), file.read_masks(1) > 0
    with rasterio.open(undisturbed / "mask.tif") as file:
        assert (file.shape, file.transform) == ((HEIGHT, WIDTH), Affine(PIXEL, 0, 5e5, 0, -PIXEL, 5e6))
    step = MODEL / PIXEL
    seen = by_scipy(values, (119, 106), (step, step))
    difference = np.tanh(0.01 * (seen - LEVEL) / 2)
    back = by_scipy(difference, values.shape, (1 / step, 1 / step))
    codes = read(undisturbed)
    np.testing.assert_array_equal(codes == 255, ~valid)
    near_hole = by_scipy((~valid).astype(float), (119, 106), (step, step)) > 0
    sure = valid & (np.abs(back) > 2e-3) & (by_scipy(near_hole, values.shape, (1 / step, 1 / step)) == 0)
    assert sure.mean() > 0.85
    np.testing.assert_array_equal(codes[sure], (back > 0)[sure])


def test_native_keeps_the_images_pixels_and_is_suspect(
    hills: Path, bundle: Path, undisturbed: Path, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    result, record = go(hills, bundle, tmp_path, spacing="native")
    assert result.status == "suspect"
    assert record["sampling"] is None
    assert any("was made for 16 × 16 m" in w for w in result.warnings)
    plain = make_bundle((LEVEL,), steepness=0.01, tile=(16, 16), overlap=0.5, blend="gaussian")
    other, theirs = go(hills, plain, tmp_path / "plain")
    np.testing.assert_array_equal(read(result.out), read(other.out))
    # what a card without a spacing gives is known by the same digest as ever
    assert record["parameters_digest"] == theirs["parameters_digest"]
    first = json.loads((undisturbed / "run.json").read_bytes())
    assert first["parameters_digest"] != record["parameters_digest"]


def test_a_plan_says_what_is_sampled(hills: Path, bundle: Path, tmp_path: Path) -> None:
    from flows.commands.plan import rows

    priced = plan_image(hills, bundle, tmp_path)
    found = dict(rows(priced))
    assert found["sampling"] == "sampled at 16 × 16 m (y, x) from 10 × 10 m: 119 × 106 pixels"
    answer = priced.as_json()
    assert answer["image"]["shape"] == [HEIGHT, WIDTH]
    assert answer["sampling"]["shape"] == [119, 106]
    assert "sampling" not in dict(rows(plan_image(hills, bundle, tmp_path, spacing="native")))


def test_two_stages_see_each_their_own_pixels(
    hills: Path, bundle: Path, undisturbed: Path, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    coarse = make_bundle(
        (950.5,), steepness=0.01, tile=(16, 16), overlap=0.5, name="finder", spacing=(33.0, 33.0)
    )
    both = write_two_stage(tmp_path / "both", coarse, bundle, margin=(3,)).path
    result, record = go(hills, both, tmp_path / "one", block=1000)
    found = record["region_of_interest"]
    assert found["name"] == "finder"
    assert 0.05 < found["share"] < 0.6
    assert found["tiles"] < found["tiles_full"]
    # what the coarse stage finds by itself is the region but for the margin
    alone, _ = go(hills, coarse, tmp_path / "alone")
    high, whole, codes = read(alone.out) == 1, read(undisturbed), read(result.out)
    reach = np.zeros_like(high)
    for y, x in np.argwhere(high):
        reach[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = True
    np.testing.assert_array_equal(codes, np.where(reach | (whole == 255), whole, 0))
    again, _ = go(hills, both, tmp_path / "many", block=30, workers=1)
    assert content(again.out) == content(result.out)


def write_volume(path: Path, values: np.ndarray, affine: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


def test_a_turned_file_has_its_mask_turned(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    values = np.kron(rng.integers(0, 100, (6, 5, 4)), np.ones((5, 5, 5))).astype(np.int16)[:29, :23, :19]
    turn = np.array([[0.98, 0.0, -0.199], [0.0, 1.0, 0.0], [0.199, 0.0, 0.98]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.0, 1.2, 2.5])
    affine[:3, 3] = -20, 4, 8
    model = make_bundle(
        (50.5,), ndims=(3,), steepness=0.05, tile=(16,) * 3, overlap=0.5, spacing=(2.0, 2.0, 2.0)
    )
    cleaned = tmp_path / "cleaned"
    copy_with_postprocess(
        model, cleaned, steps=parse_steps(largest=[], minimum_size=["middle=300mm3"], fill_holes=[])
    )
    straight = write_volume(tmp_path / "straight.nii.gz", values, affine)
    image = nib.load(straight)
    flipped = image.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    turned = write_volume(tmp_path / "turned.nii", np.asarray(flipped.dataobj), flipped.affine)
    masks = []
    for path in (straight, turned):
        result, record = go(path, cleaned, tmp_path / "out", block=14)
        assert record["sampling"]["says"].endswith("from 2.5 × 1.2 × 1 mm")
        mask = nib.load(result.out / "mask.nii.gz")
        np.testing.assert_allclose(mask.affine, nib.load(path).affine, atol=1e-6)
        assert mask.shape == nib.load(path).shape
        masks.append(nib.as_closest_canonical(mask).get_fdata())
        with (result.out / "regions.csv").open() as file:
            volumes = [float(r["volume_mm3"]) for r in csv.DictReader(file)]
        assert sum(volumes) == pytest.approx((masks[-1] == 1).sum() * 1.0 * 1.2 * 2.5, rel=1e-4)
        assert min(volumes) >= 300
    np.testing.assert_array_equal(*masks)
    assert 0.2 < masks[0].mean() < 0.8


@pytest.mark.slow
def test_organs_are_found_at_another_spacing(shared_data: Path, segflow: Any, tmp_path: Path) -> None:
    """A CT at 4 × 4 × 5 mm against the 3 mm CT that it is made from, both by the shipped model."""
    sitk = pytest.importorskip("SimpleITK")
    source = shared_data / "ct-organs" / "example_ct.nii.gz"
    scan = sitk.ReadImage(str(source))
    spacing = (4.0, 4.0, 5.0)
    size = [int(n * s / t) for n, s, t in zip(scan.GetSize(), scan.GetSpacing(), spacing, strict=True)]

    def sampled(image: Any, how: Any, beyond: int) -> Any:
        kind, direction = image.GetPixelID(), image.GetDirection()
        return sitk.Resample(
            image, size, sitk.Transform(), how, image.GetOrigin(), spacing, direction, beyond, kind
        )

    sitk.WriteImage(sampled(scan, sitk.sitkLinear, -1024), str(tmp_path / "other.nii.gz"))
    masks = []
    for image in (source, tmp_path / "other.nii.gz"):
        done = segflow.run(image, "ct-organs", tmp_path / "out")
        assert done.code == 0, done.error
        masks.append(sitk.ReadImage(str(done.folder / "mask.nii.gz")))
    expected = sitk.GetArrayFromImage(sampled(masks[0], sitk.sitkNearestNeighbor, 255))
    found = sitk.GetArrayFromImage(masks[1])
    for code in (1, 2):
        both = ((expected == code) & (found == code)).sum()
        assert 2 * both / ((expected == code).sum() + (found == code).sum()) > 0.92
