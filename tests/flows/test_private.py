"""Identifiers are planted in every name and header; they must be in no log, no record and not in Prefect's database."""

from __future__ import annotations

import hashlib
import hmac
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
from pydicom.uid import RLELossless, generate_uid
from rasterio.transform import from_origin

from flows.private import privatised
from tasks.errors import InputError
from tasks.imagery.open import open_image
from tasks.imagery.source import Source
from tasks.imagery.wanted import Reading, Wanted
from tasks.privacy import keys
from tasks.privacy.hiding import hidden
from tasks.privacy.keys import look_up
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
    entry = json.loads((out / ".segflow" / "keys.json").read_text())["keys"][record["item"]]
    (series,) = entry["about"]["series"]
    assert record["parameters"]["asked"]["reading"]["layer"] == series
    assert f"--layer {series} " in record["command"]
    assert any(n.startswith(f"Series taken: {series} (CT, ") for n in record["input"]["notes"])
    assert plainly(entry["layer"]) not in (run.folder / "run.json").read_text()
    page = (run.folder / "report.html").read_text()
    assert page.count("Private: keys instead of names") == 1
    assert plainly(entry["layer"]) not in page
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


@pytest.mark.parametrize("name", [f"{PLANT}good", f"{PLANT}.nii.gz"])
def test_what_is_refused_before_the_image_is_opened_says_the_key(
    patients: Path, tmp_path: Path, name: str
) -> None:
    from rich.console import Console

    from flows.commands.run import execute
    from flows.plan import plan_image

    asked = {"image": str(patients / name), "model": "ct-organs", "valid": ["scl"], "private": True}
    with pytest.raises(InputError) as planned:
        plan_image(out=tmp_path / "none", **asked)
    with pytest.raises(InputError) as run:
        execute(Console(quiet=True), direct=True, debug=False, out=tmp_path / "out", **asked)
    for caught in (planned, run):
        assert "p-" in str(caught.value)
        assert PLANT not in str(caught.value)
        assert caught.value.__cause__ is None


#: UIDs of the series below.
ONE, TWO = (str(generate_uid(entropy_srcs=[name])) for name in ("one", "two"))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two series of one patient."""
    folder = tmp_path / f"{PLANT}study"
    write_series(folder / "a", phantom(), AFFINE, uid="one", number=1, plant=PLANT)
    write_series(folder / "b", phantom(), AFFINE, uid="two", number=2, plant=PLANT)
    return folder


def plainly(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()[:8]


def kept(out: Path) -> Any:
    return json.loads((out / ".segflow" / "keys.json").read_text())


def named(study: str | Path, out: Path, layer: str | None, command: str = "") -> dict[str, Any]:
    return privatised(
        {"image": str(study), "model": "m", "out": out, "layer": layer, "command": command, "private": True}
    )


def test_keys_of_private_series_are_keyed_and_mapped_back(study: Path, tmp_path: Path) -> None:
    asked = named(study, tmp_path / "out", "2")
    held = kept(tmp_path / "out")
    series = held["keys"][asked["image"].partition("#")[2]]["about"]["series"]
    assert [(s["uid"], s["number"], s["modality"]) for s in series.values()] == [
        (ONE, "1", "CT"),
        (TWO, "2", "CT"),
    ]
    assert {s["description"] for s in series.values()} == {f"{PLANT} series"}
    secret = bytes.fromhex(held["secret"])
    expected = [f"s-{hmac.digest(secret, s['uid'].encode(), 'sha256').hex()[:8]}" for s in series.values()]
    assert list(series) == expected

    wanted = Wanted(count=1, reading=Reading(layer=asked["layer"]))
    image = open_image(asked["image"], scratch=tmp_path, wanted=wanted)
    notes = " ".join(image.info.notes)
    assert f"Series taken: {expected[1]} (CT" in notes
    assert f"Series left out: {expected[0]} (CT" in notes
    unclear = named(study, tmp_path / "out", None)
    with pytest.raises(InputError, match="series that may be meant") as caught:
        open_image(unclear["image"], scratch=tmp_path, wanted=Wanted(count=1))
    assert all(key in str(caught.value) for key in expected)
    for uid in (ONE, TWO):
        assert plainly(uid) not in notes + str(caught.value)


def test_one_series_has_one_key_however_it_is_named(study: Path, tmp_path: Path) -> None:
    out, link = tmp_path / "out", tmp_path / "link"
    link.symlink_to(study)
    first = named(study, out, "2")
    for path in (study, f"{study}/.", study / "a" / "..", link):
        for layer in ("2", " 2", TWO, f"s-{plainly(TWO)}", first["layer"]):
            again = named(path, out, layer)
            assert (again["image"], again["layer"]) == (first["image"], first["layer"])
    assert named(study, out, "1")["image"] != first["image"]
    assert named(study / "b", out, "2")["image"] != first["image"]


@pytest.mark.parametrize("form", ["--layer {}", "--layer={}"])
def test_the_command_of_a_private_run_names_its_series(study: Path, tmp_path: Path, form: str) -> None:
    out, key = tmp_path / "out", ""
    for layer in ("2", TWO, f"s-{plainly(TWO)}"):
        asked = named(study, out, layer, f"segflow run {study} --tile 2 {form.format(layer)}")
        item, key = asked["image"].partition("#")[2], asked["layer"]
        assert key in kept(out)["keys"][item]["about"]["series"]
        assert asked["command"] == f"segflow run {item} --tile 2 {form.format(key)}"
    assert named(study, out, key)["layer"] == key
    unknown = named(study, out, f"{PLANT} series", f"segflow run x --layer '{PLANT} series'")
    assert unknown["layer"].startswith("l-")  # both have it
    assert unknown["command"].endswith(f" --layer {unknown['layer']}")


def test_a_plan_before_the_first_run_names_series_as_that_run_takes_them(study: Path, tmp_path: Path) -> None:
    from flows.private import privatised_nowhere

    out = tmp_path / "out"
    with privatised_nowhere({"image": str(study), "out": out, "private": True}) as asked:
        shown = list(look_up(asked["image"]).series)
    assert shown == [f"s-{plainly(uid)}" for uid in (ONE, TWO)]
    assert not out.exists()
    assert look_up(named(study, out, shown[0])["image"]).layer == ONE
    with privatised_nowhere({"image": str(study), "out": out, "private": True}) as asked:
        assert list(look_up(asked["image"]).series) == list(look_up(named(study, out, None)["image"]).series)


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
