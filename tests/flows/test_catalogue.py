"""Output folders as data sets: valid under the BIDS validator and pystac; label files beside NIfTI masks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pystac
import pytest
import rasterio
from rich.console import Console

from flows.commands.run import execute
from tasks.catalogue.bids import parse_name, write_derivatives
from tasks.catalogue.stac import write_collection
from tasks.errors import InputError

VALIDATOR = Path(sys.executable).with_name("bids-validator-deno")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(image: Path, model: Path, out: Path, **options: object) -> Path:
    return execute(
        Console(quiet=True), direct=True, debug=False, image=image, model=str(model), out=out, **options
    ).out


@pytest.fixture
def volumes(tmp_path: Path, make_bundle: Callable[..., Path]) -> Path:
    """Results of two subjects, and of a volume without a BIDS name."""
    model = make_bundle((0.5,), ndims=(3,))
    values = np.random.default_rng(0).random((9, 8, 7)).astype(np.float32)
    image = nib.Nifti1Image(values, np.diag([1.0, 1.0, 2.0, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    names = (
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-02/ses-a/anat/sub-02_ses-a_run-2_T1w.nii.gz",
        "other.nii.gz",
    )
    for name in names:
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(image, path)
        run(path, model, tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.skipif(not VALIDATOR.is_file(), reason="bids-validator-deno is not installed")
def test_derivatives_are_valid_bids(volumes: Path, tmp_path: Path) -> None:
    assert write_derivatives(volumes) == 2
    assert write_derivatives(volumes) == 2
    root = volumes / "derivatives" / "segflow"
    mask = root / "sub-02/ses-a/anat/sub-02_ses-a_run-2_space-orig_desc-segflowT1w_dseg.nii.gz"
    assert mask.samefile(volumes / "sub-02_ses-a_run-2_T1w" / "mask.nii.gz")
    described = json.loads((root / "dataset_description.json").read_text())
    raw = (root / described["DatasetLinks"]["raw"]).resolve()
    sidecar = json.loads(mask.with_name(mask.name.replace(".nii.gz", ".json")).read_text())
    assert (raw / sidecar["Sources"][0].removeprefix("bids:raw:")).is_file()
    done = subprocess.run(
        [VALIDATOR, root, "--format", "json"], capture_output=True, text=True, check=False,
        env={**os.environ, "HOME": str(tmp_path)}, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [i for i in issues if i["severity"] == "error"] == []


@pytest.mark.parametrize(
    ("path", "mask"),
    [
        ("sub-01_T1w.nii.gz", "sub-01_space-orig_desc-segflowT1w_dseg"),
        (
            "ses-a/func/sub-x_ses-a_task-rest_bold.nii",
            "sub-x_ses-a_task-rest_space-orig_desc-segflowbold_dseg",
        ),
        ("brain.nii.gz", None),
        ("ses-1_T1w.nii.gz", None),
        ("sub-01_T1w.tif", None),
    ],
)
def test_names(path: str, mask: str | None) -> None:
    name = parse_name(Path(path))
    assert (name and name.mask) == mask


def test_label_files_name_every_value(volumes: Path) -> None:
    folder = volumes / "other"
    present = set(np.unique(np.asanyarray(nib.load(folder / "mask.nii.gz").dataobj)).tolist())
    rows = [r for r in (folder / "mask.label").read_text().splitlines() if not r.startswith("#")]
    snap = {int(r.split()[0]): r.split('"')[1] for r in rows}
    # ITK-SNAP reads eight fields, the last in quotes; Slicer six, parted by blanks.
    assert all(len(r.split('"')[0].split()) == 7 for r in rows)
    slicer = [r.split() for r in (folder / "mask.ctbl").read_text().splitlines() if not r.startswith("#")]
    assert all(len(r) == 6 for r in slicer)
    assert snap == {int(r[0]): r[1] for r in slicer} == {0: "low", 1: "middle"}
    assert present <= set(snap)
    assert [r[2:5] for r in slicer] == [["217", "211", "195"], ["31", "120", "180"]]


def test_collection_is_valid_and_finds_its_items(tmp_path: Path, make_bundle: Callable[..., Path]) -> None:
    out, model = tmp_path / "out", make_bundle((120.0,))
    values = np.random.default_rng(0).integers(1, 200, (20, 30)).astype(np.uint8)
    profile = {"driver": "GTiff", "height": 20, "width": 30, "count": 1, "dtype": "uint8"}
    places = {"a_20200101": (10, 50), "b_20210203": (-20, 30), "c_20220304": (179.9, 0)}
    for name, (west, north) in places.items():
        transform = rasterio.Affine(0.01, 0, west, 0, -0.01, north)
        with rasterio.open(
            tmp_path / f"{name}.tif", "w", crs="EPSG:4326", transform=transform, **profile
        ) as file:
            file.write(values, 1)
        run(tmp_path / f"{name}.tif", model, out)
    shutil.rmtree(out / ".segflow")
    assert write_collection(out, title="Two & more") == 3
    read = pystac.Collection.from_file(str(out / "collection.json"))
    read.validate()
    assert {i.id for i in read.get_items()} == set(places)
    (box,) = read.extent.spatial.bboxes
    assert box == pytest.approx([-180, -0.2, 180, 50])
    (interval,) = read.extent.temporal.intervals
    assert [str(t)[:10] for t in interval] == ["2020-01-01", "2022-03-04"]
    with pytest.raises(InputError, match="no item"):
        write_collection(tmp_path / "cache")
