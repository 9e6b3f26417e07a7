"""Post-processing of a bundle's card in whole runs, synthetic and real, against scipy on the whole mask."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import rasterio
from rich.console import Console
from scipy import ndimage
from skimage.filters import threshold_otsu

from flows.commands.run import execute
from flows.pipeline import RunResult
from segmodels.bundles.copying import copy_with_postprocess, parse_steps
from segmodels.errors import BundleError
from segmodels.methods.make import make_classical
from tasks.errors import InputError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(image: Path, model: Path, out: Path, **options: object) -> RunResult:
    return execute(
        Console(quiet=True), direct=True, debug=False, image=image, model=str(model), out=out, **options
    )


def write_scene(path: Path) -> np.ndarray:
    """Two bright parts, one with a hole, beside nodata."""
    values = np.clip(np.random.default_rng(0).normal(60, 12, (50, 70)), 1, 115)
    values[10:30, 20:50] = 180
    values[15:18, 25:28] = 60
    values[40, 60] = 190
    values[:, :5] = 0
    values = values.astype(np.uint8)
    profile = {"driver": "GTiff", "height": 50, "width": 70, "count": 1, "dtype": "uint8", "nodata": 0}
    with rasterio.open(path, "w", transform=rasterio.Affine(1, 0, 0, 0, -1, 9), **profile) as file:
        file.write(values, 1)
    return values


def test_postprocessing_reaches_mask_regions_and_record(
    tmp_path: Path, make_bundle: Callable[..., Path]
) -> None:
    scene = tmp_path / "a.tif"
    values = write_scene(scene)
    plain = make_bundle((120.0,), name="plain")
    copy = tmp_path / "clean"
    steps = parse_steps(largest=["middle"], minimum_size=["middle=20"], fill_holes=["middle=9"])
    copy_with_postprocess(plain, copy, steps=steps)
    bright = values > 120
    labels, _ = ndimage.label(bright, np.ones((3, 3)))
    largest = labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1
    wanted = np.where(values == 0, 255, ndimage.binary_fill_holes(largest))
    assert largest.sum() < bright.sum()
    for block in (16, 1000):
        result = run(scene, copy, tmp_path / "out", item=f"b{block}", block=block, tile=[16])
        np.testing.assert_array_equal(rasterio.open(result.out / "mask.tif").read(1), wanted)
        summary = json.loads((result.out / "summary.json").read_text())
        assert summary["classes"][1]["pixels"] == (wanted == 1).sum()
        assert summary["classes"][1]["regions"] == 1
        changes = json.loads((result.out / "run.json").read_text())["postprocess"]
        assert changes["removed_pixels"] == bright.sum() - largest.sum()
        assert changes["filled_pixels"] == 9
        page = " ".join((result.out / "report.html").read_text().split())
        _, small = np.unique(labels[labels > 0], return_counts=True)
        parts, pixels = int((small < 20).sum()), int(small[small < 20].sum())
        for rule, done, count in (
            ("remove regions smaller than 20 pixels", f"{parts} region{'s' * (parts != 1)} removed", pixels),
            ("keep the largest region", "0 regions removed", 0),
            ("fill holes of at most 9 pixels", "1 hole filled", 9),
        ):
            assert f'<td>{rule}</td><td class="n">{done}</td><td class="n">{count}</td>' in page
    masks = [(tmp_path / "out" / f"b{b}" / "mask.tif").read_bytes() for b in (16, 1000)]
    assert masks[0] == masks[1]


@pytest.mark.parametrize("text", ["middle=", "middle=0", "middle=3cm"])
def test_sizes_must_be_sizes(text: str) -> None:
    with pytest.raises(BundleError, match="middle=25"):
        parse_steps(largest=(), minimum_size=[text], fill_holes=())


def test_units_that_the_image_has_not_are_refused_before_anything_runs(
    tmp_path: Path, make_bundle: Callable[..., Path]
) -> None:
    scene, copy = tmp_path / "a.tif", tmp_path / "clean"
    write_scene(scene)
    steps = parse_steps(largest=(), minimum_size=["middle=20m2"], fill_holes=())
    copy_with_postprocess(make_bundle((120.0,)), copy, steps=steps)
    with pytest.raises(InputError, match="sizes in pixels"):
        run(scene, copy, tmp_path / "out")


def test_a_preview_says_that_it_saw_a_part(tmp_path: Path, make_bundle: Callable[..., Path]) -> None:
    scene, copy = tmp_path / "a.tif", tmp_path / "clean"
    write_scene(scene)
    steps = parse_steps(largest=["middle"], minimum_size=(), fill_holes=())
    copy_with_postprocess(make_bundle((120.0,)), copy, steps=steps)
    result = run(scene, copy, tmp_path / "out", window="35:50,50:70")
    assert any("this part alone" in w for w in result.warnings)
    assert (rasterio.open(result.out / "mask.tif").read(1) == 1).sum() == 1


def test_the_body_of_a_real_ct_is_one_piece_without_holes(shared_data: Path, tmp_path: Path) -> None:
    ct = shared_data / "ct-organs" / "example_ct.nii.gz"
    plain, copy = tmp_path / "otsu", tmp_path / "body"
    make_classical("otsu", plain, channels=["CT"])
    steps = parse_steps(largest=["bright"], minimum_size=(), fill_holes=["bright=20000mm3"])
    copy_with_postprocess(plain, copy, steps=steps)
    result = run(ct, copy, tmp_path / "out")
    volume = nib.load(ct)
    values = np.asarray(volume.dataobj)
    (threshold,) = json.loads((result.out / "run.json").read_text())["fitted"]["thresholds"]
    assert threshold == pytest.approx(threshold_otsu(values), abs=1.5 * np.ptp(values) / 256)
    labels, _ = ndimage.label(values > threshold, np.ones((3, 3, 3)))
    body = labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1
    holes, _ = ndimage.label(~body)
    border = np.unique(np.concatenate([holes.take(i, axis=d).ravel() for d in range(3) for i in (0, -1)]))
    pixels = np.bincount(holes.ravel())
    voxel = float(np.prod(volume.header.get_zooms()))
    small = np.flatnonzero(pixels * voxel <= 20000)
    wanted = body | np.isin(holes, np.setdiff1d(small, [*border, 0]))
    assert body.sum() < wanted.sum()
    found = np.asarray(nib.load(result.out / "mask.nii.gz").dataobj)
    np.testing.assert_array_equal(found, wanted)
