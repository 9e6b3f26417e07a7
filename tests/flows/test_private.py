"""Identifiers are planted in every name and header; they must be in no log, no record and not in Prefect's database."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest
import rasterio
from pydicom.uid import RLELossless
from rasterio.transform import from_origin

from tasks.imagery.open import open_image
from tasks.imagery.source import Source
from tasks.imagery.wanted import Reading, Wanted
from tasks.privacy import keys
from tasks.privacy.hiding import hidden
from tests.tasks.imagery.volume.dicom_series import PLANT, phantom, write_series

AFFINE = np.diag([-1.0, -1, 3, 1])
#: What may name the patient: the file that maps back, and the segmentation, which belongs to the patient's study.
NAMED = ("keys.json", "mask.dcm")


def write_nifti(path: Path) -> None:
    """A volume whose header says who it is of wherever it can."""
    image = nib.Nifti1Image(phantom(), AFFINE)
    image.header.set_intent("none", name=f"{PLANT}int")
    for field in ("descrip", "db_name", "aux_file", "data_type"):
        image.header[field] = f"{PLANT}{field[:2]}".encode()
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", f"{PLANT} comment".encode()))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)


def corrupt(paths: list[Path]) -> None:
    for path in paths:
        ds = pydicom.dcmread(path)
        ds.compress(RLELossless)
        ds.save_as(path)
        data = bytearray(path.read_bytes())
        data[-100:-30] = bytes(70)
        path.write_bytes(data)


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    """Items of every fate, below names that may not be said."""
    root, n = tmp_path / f"{PLANT} folder", lambda k: f"{PLANT}_{k}"
    write_series(root / f"{PLANT}good", phantom((16, 12, 9)), AFFINE, name=n, plant=PLANT)
    corrupt(write_series(root / f"{PLANT}part", phantom((16, 12, 9)), AFFINE, name=n, plant=PLANT)[:1])
    corrupt(write_series(root / f"{PLANT}bad", phantom((16, 12, 9)), AFFINE, name=n, plant=PLANT))
    write_series(root / f"{PLANT}two", phantom(), AFFINE, name=n, plant=PLANT)
    write_series(root / f"{PLANT}two" / f"{PLANT}b", phantom(), AFFINE, uid="other", plant=PLANT)
    write_nifti(root / f"{PLANT}.nii.gz")
    whole = (root / f"{PLANT}.nii.gz").read_bytes()
    (root / f"{PLANT}short.nii.gz").write_bytes(whole[: len(whole) // 2])
    return root


def search(folder: Path, *texts: str) -> list[str]:
    """Files that hold a text in their name or anywhere inside, inflated where they are compressed."""
    wanted, found = [t.encode() for t in texts], []
    for path in sorted(p for p in folder.rglob("*") if p.name not in NAMED):
        held = [str(path.relative_to(folder)).encode()]
        if path.is_file():
            held.append(path.read_bytes())
            if path.name.endswith(".gz"):
                held.append(zlib.decompressobj(wbits=31).decompress(held[-1]))  # also of half a file
            if path.suffix == ".parquet":
                table = pq.read_table(path)
                held.append(repr((table.schema.metadata, table.to_pylist())).encode())
        if any(w.lower() in data.lower() for w in wanted for data in held):
            found.append(str(path))
    return found


def test_the_search_finds_what_is_planted(patients: Path) -> None:
    found = search(patients, PLANT)
    assert len(found) == len(list(patients.rglob("*")))
    assert not search(patients, "Dougal")


@pytest.mark.slow
def test_nothing_planted_reaches_outputs_logs_or_the_database(
    patients: Path, fresh_segflow: Any, make_bundle: Any, tmp_path: Path
) -> None:
    model, out = make_bundle((300.0,)), tmp_path / "out"
    glob = f"{patients}/*"
    done = fresh_segflow("batch", glob, "--model", model, "--out", out, "--private", "--json", cwd=tmp_path)
    assert done.answer["count"] == {"done": 2, "partial": 1, "failed": 3}, done.error
    assert PLANT not in done.output + done.error
    keys = json.loads((out / ".segflow" / "keys.json").read_text())["keys"]
    mapped = {Path(entry["parts"][0][0]).name: key for key, entry in keys.items()}
    good = mapped[f"{PLANT}good"]
    assert (out / good / "mask.dcm").is_file()
    assert (out / good / "report.html").is_file()
    assert keys[good]["about"]["patient"] == f"{PLANT}ID"
    reasons = {i["item"]: i["reason"] for i in done.answer["items"]}
    assert "series that may be meant" in reasons[mapped[f"{PLANT}two"]]
    assert "corrupt" in reasons[mapped[f"{PLANT}part"]]
    assert mapped[f"{PLANT}short.nii.gz"] in reasons[mapped[f"{PLANT}short.nii.gz"]]

    one = patients / f"{PLANT}good"
    layer = f"{PLANT} series"
    run = fresh_segflow(
        "run", one, "--model", model, "--out", out, "--layer", layer, "--json", "--debug", cwd=tmp_path
    )
    assert run.code == 0, run.error
    record = json.loads((run.folder / "run.json").read_text())
    assert record["input"]["path"] == record["item"] == run.answer["item"]
    assert record["private"] is True
    again = fresh_segflow("run", one, "--model", model, "--out", out, "--json", cwd=tmp_path)
    assert (again.answer["item"], again.answer["already_done"]) == (good, True)
    planned = fresh_segflow("plan", one, "--model", model, "--out", out, "--json", cwd=tmp_path)
    assert planned.answer["item"] == good
    for told in (run, again, planned):
        assert PLANT not in told.output + told.error

    assert search(out, PLANT, patients.name) == []
    assert search(fresh_segflow.home, PLANT, patients.name, "data:image/png") == []
    database = (fresh_segflow.home / "prefect" / "prefect.db").read_bytes()
    assert good.encode() in database  # the search looks at the right file
    assert b"FAILED" in database
    header = nib.load(out / mapped[f"{PLANT}.nii.gz"] / "mask.nii.gz").header
    assert PLANT.encode() not in bytes(header.binaryblock)
    assert (out / ".segflow" / "keys.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_keys_cannot_be_guessed_but_stay(
    patients: Path, segflow: Any, make_bundle: Any, tmp_path: Path
) -> None:
    model, one = make_bundle((300.0,)), patients / f"{PLANT}good"
    first = segflow.run(one, model, tmp_path / "1")
    assert segflow.run(one, model, tmp_path / "1").answer["already_done"]
    other = segflow.run(one, model, tmp_path / "2")
    assert first.answer["item"] != other.answer["item"]  # another secret
    assert search(tmp_path / "1", PLANT) == []
    open_ = segflow.run(one, model, tmp_path / "3", "--no-private")
    assert open_.answer["item"] == f"{PLANT}good"
    assert (open_.folder / "mask.nii.gz").read_bytes() == (first.folder / "mask.nii.gz").read_bytes()


def write_raster(folder: Path) -> Path:
    """A raster that says who it is of in its bands, beside a mask and a classification that do so too."""
    folder.mkdir(parents=True)
    grid = {"width": 12, "height": 9, "crs": "EPSG:32614", "transform": from_origin(5e5, 5e6, 5, 5)}
    path = folder / f"{PLANT}.tif"
    with rasterio.open(path, "w", driver="GTiff", count=3, dtype="uint8", **grid) as file:
        file.write(np.full((3, 9, 12), 7, np.uint8))
        for band in (1, 2, 3):
            file.set_band_description(band, f"{PLANT}{band}")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(np.ones((9, 12), bool))
    with rasterio.open(folder / "scan_SCL.tif", "w", driver="GTiff", count=1, dtype="uint8", **grid) as file:
        file.write(np.full((9, 12), 4, np.uint8), 1)
    return path


def test_the_description_of_a_private_raster_names_no_band_file_or_folder(tmp_path: Path) -> None:
    path, file = write_raster(tmp_path / f"{PLANT} folder"), tmp_path / "keys.json"
    (key,) = keys.register(file, keys.Entry(((str(path), None),)))
    wanted = Wanted(channels=(), count=3, reading=Reading(valid=("scl",)))
    image = open_image(keys.address(file, key), scratch=tmp_path / "scratch", wanted=wanted)
    info = replace(image.info, gdal=None)  # what opens it within the process, never written
    image.close()
    said = repr(replace(info, source=Source.of("x")))
    assert len(info.bands) == 3
    assert info.grid["sidecars"] == [f"{key}.msk"]
    assert "scan_SCL.tif" in said
    assert PLANT not in said


def test_words_about_dicom_are_no_names(tmp_path: Path) -> None:
    study = tmp_path / "DICOM"
    write_series(study / "a", phantom(), AFFINE, plant=PLANT)
    (study / "DICOMDIR").write_bytes(b"x")
    (key,) = keys.register(tmp_path / "keys.json", keys.Entry(((str(study), None),)))
    source = Source.of(keys.address(tmp_path / "keys.json", key))
    assert hidden("Files left out: 1 DICOMDIR.", source) == "Files left out: 1 DICOMDIR."
    assert hidden(f"{study} holds DICOM", source) == f"{key} holds DICOM"


def test_a_path_is_not_given_to_a_private_flow(patients: Path, tmp_path: Path) -> None:
    from flows.private import check_named_by_key
    from tasks.errors import UsageError
    from tasks.imagery.source import Source

    with pytest.raises(UsageError, match="segflow run") as caught:
        check_named_by_key(Source.of(patients / f"{PLANT}good"), None)
    assert PLANT not in str(caught.value)
    check_named_by_key(Source.of(patients / f"{PLANT}good"), False)
    check_named_by_key(Source.of(patients / f"{PLANT}.nii.gz"), None)
