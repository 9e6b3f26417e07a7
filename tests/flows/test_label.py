"""Labelling through the command, without Prefect: rasters, volumes, corrections."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import rasterio
from rich.console import Console
from skimage.filters import threshold_otsu

from flows.commands.label import label_images
from tasks.errors import InputError, UsageError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def write_scene(path: Path, *, bands: int = 2, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(60, 12, (bands, 50, 70))
    values[:, 10:30, 20:50] += 110
    values[:, 15:18, 25:28] -= 110
    values[:, 40, 60] = 190
    values = np.clip(values, 1, 255).astype(np.uint8)
    values[:, :, :5] = 0
    profile = {"driver": "GTiff", "height": 50, "width": 70, "count": bands, "dtype": "uint8", "nodata": 0}
    with rasterio.open(path, "w", transform=rasterio.Affine(1, 0, 0, 0, -1, 0), **profile) as file:
        file.write(values)
    return values


def write_volume(path: Path) -> np.ndarray:
    values = np.random.default_rng(1).choice([46, 50, 55], (20, 18, 9)).astype(np.float32)
    values[4:12, 5:14, 2:7] += 90
    nib.save(nib.Nifti1Image(values, np.diag([1, 1, 3, 1])), path)
    return values


def label(images: list[Path], out: Path, model: Any = "otsu") -> dict[str, Any]:
    return label_images(Console(quiet=True), images, model=str(model), out=out, direct=True, debug=False)


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(1)


def test_rasters_become_pairs_and_corrections_stay(tmp_path: Path) -> None:
    scenes = [tmp_path / f"{name}.tif" for name in ("east", "west")]
    values = [write_scene(path, seed=i) for i, path in enumerate(scenes)]
    out = tmp_path / "set"
    assert label(scenes[:1], out)["exit_code"] == 0
    band = values[0][0]
    wanted = np.where(band == 0, 255, band > threshold_otsu(band[band > 0]))
    mask = out / "masks" / "east.tif"
    np.testing.assert_array_equal(read(mask), wanted)
    assert (out / "images" / "east.tif").read_bytes() == scenes[0].read_bytes()
    said = json.loads((out / "dataset.json").read_text())
    assert said["layout"] == "geotiff"
    assert [(c["name"], c["code"]) for c in said["classes"]] == [("dark", 0), ("bright", 1)]
    assert said["ignore"] == [255, 254, 253]
    assert said["channels"] == ["band1", "band2"]
    assert (out / "review.csv").read_text().startswith("item,region,class,pixels,mean_confidence")

    with rasterio.open(mask, "r+") as file:
        file.write(np.ones((50, 70), np.uint8), 1)
    corrected = mask.read_bytes()
    again = label(scenes, out)
    assert [again["items"][n]["outcome"] for n in ("east", "west")] == ["corrected", "written"]
    assert mask.read_bytes() == corrected
    assert label(scenes, out)["items"]["west"]["outcome"] == "unchanged"


def test_another_model_renews_what_nobody_edited_and_other_classes_are_refused(
    tmp_path: Path, make_bundle: Callable[..., Path]
) -> None:
    scene, out = tmp_path / "a.tif", tmp_path / "set"
    write_scene(scene, bands=1)
    label([scene], out, make_bundle((100.0,), name="one"))
    before = read(out / "masks" / "a.tif")
    answer = label([scene], out, make_bundle((60.0,), name="two"))
    assert answer["items"]["a"]["outcome"] == "written"
    assert (read(out / "masks" / "a.tif") != before).any()
    with pytest.raises(InputError, match="other classes"):
        label([scene], out, "multi-otsu")


def test_volumes_become_nnunets_layout(tmp_path: Path) -> None:
    volume, out = tmp_path / "head.nii", tmp_path / "set"
    values = write_volume(volume)
    values[0, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(values, np.diag([1, 1, 3, 1])), volume)
    label([volume], out)
    found = nib.load(out / "labelsTr" / "head.nii.gz")
    wanted = (values > 100).astype(int)
    wanted[0, 0, 0] = 2
    np.testing.assert_array_equal(np.asarray(found.dataobj), wanted)
    np.testing.assert_array_equal(found.affine, np.diag([1, 1, 3, 1]))
    np.testing.assert_array_equal(nib.load(out / "imagesTr" / "head_0000.nii.gz").get_fdata(), values)
    said = json.loads((out / "dataset.json").read_text())
    assert said["labels"] == {"dark": 0, "bright": 1, "ignore": 2}
    assert (said["numTraining"], said["file_ending"], said["channel_names"]) == (1, ".nii.gz", {"0": "band1"})


def test_one_bad_image_costs_itself(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.tif", tmp_path / "bad.tif"
    write_scene(good)
    bad.write_bytes(good.read_bytes()[:400])
    answer = label([good, bad], tmp_path / "set")
    assert answer["items"]["bad"]["outcome"] == "refused"
    assert answer["exit_code"] == 3
    assert (tmp_path / "set" / "masks" / "good.tif").exists()
    with pytest.raises(UsageError, match="one name"):
        label([good, tmp_path / "other" / "good.tif"], tmp_path / "set")
