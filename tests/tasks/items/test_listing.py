"""Lists of items: what is one, what it is called, what it lacks."""

from __future__ import annotations

import json
from pathlib import Path

import pydicom
import pytest

from tasks.errors import InputError
from tasks.items.item import flat
from tasks.items.listing import list_items


def made(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def listed(where: str | Path, *channels: str, match: str | None = None) -> dict[str, list[str]]:
    found = list_items(str(where), channels=channels or ["image"], match=match)
    return {i.id: [p.uri for p in i.source.parts] for i in found.items}


def test_a_folder_gives_its_images_by_relative_path(tmp_path):
    made(tmp_path, "b.tif", "2020/a.tif", "2020/a.txt", ".hidden/c.tif", "2021/deep/v.nii.gz")
    assert listed(tmp_path) == {
        "2020/a": [str(tmp_path / "2020/a.tif")],
        "2021/deep/v": [str(tmp_path / "2021/deep/v.nii.gz")],
        "b": [str(tmp_path / "b.tif")],
    }


def test_results_are_no_images(tmp_path):
    made(tmp_path, "a.tif", "out/a/mask.tif", "out/a/run.json", "out/.segflow/a/x.tif")
    assert list(listed(tmp_path)) == ["a"]


def test_a_glob_counts_from_its_wildcards(tmp_path):
    made(tmp_path, "x/1/a.tif", "x/2/a.tif", "x/2/b.nii", "x/2/.c.tif", "y/a.tif")
    assert list(listed(tmp_path / "x" / "**" / "*.tif")) == ["1/a", "2/a"]
    assert list(listed(tmp_path / "x" / "2" / "*")) == ["a", "b"]


def test_a_file_whose_name_looks_like_a_glob_is_itself(tmp_path):
    made(tmp_path, "a[1].tif", "a1.tif")
    assert listed(tmp_path / "a[1].tif") == {"a[1]": [str(tmp_path / "a[1].tif")]}


def test_two_images_of_one_name_are_refused(tmp_path):
    made(tmp_path, "a.tif", "a.nii.gz")
    with pytest.raises(InputError, match="would both be item a"):
        listed(tmp_path)
    made(tmp_path / "z", "p/q.tif", "p__q.tif")
    with pytest.raises(InputError, match="would both be item p__q"):
        listed(tmp_path / "z")


@pytest.mark.parametrize("name", ["nothing", "empty", "*.tif"])
def test_nothing_is_said(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"does not exist|holds no image"):
        listed(tmp_path / name)


def test_match_chooses_by_id(tmp_path):
    made(tmp_path, "a_2019.tif", "a_2020.tif")
    assert list(listed(tmp_path, match="*2020")) == ["a_2020"]
    with pytest.raises(InputError, match="no item of"):
        listed(tmp_path, match="b*")


def dicom(path: Path, study: str) -> None:
    head = pydicom.Dataset()
    head.file_meta = pydicom.dataset.FileMetaDataset()
    head.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    head.StudyInstanceUID = study
    path.parent.mkdir(parents=True, exist_ok=True)
    head.save_as(path, enforce_file_format=False, implicit_vr=False, little_endian=True)
    data = path.read_bytes()
    if data[128:132] != b"DICM":
        path.write_bytes(b"\0" * 128 + b"DICM" + data)


def test_an_archives_export_gives_its_studies(tmp_path):
    dicom(tmp_path / "a" / "1" / "ct" / "IM1", "1.2.1")
    dicom(tmp_path / "a" / "1" / "mr" / "IM1", "1.2.1")
    dicom(tmp_path / "a" / "2" / "IM1", "1.2.2")
    dicom(tmp_path / "b" / "x" / "IM1", "1.2.3")
    made(tmp_path, "b/x/readme.txt", "index.txt")
    assert listed(tmp_path) == {k: [str(tmp_path / k)] for k in ("a/1", "a/2", "b")}
    assert list(listed(tmp_path / "a" / "1")) == ["1"]


def test_a_study_among_other_images_is_one_of_them(tmp_path):
    made(tmp_path, "x.tif", "deep/y.nii.gz")
    dicom(tmp_path / "deep" / "s" / "IM1", "1.2.1")
    dicom(tmp_path / "t" / "1" / "IM1", "1.2.2")
    dicom(tmp_path / "t" / "2" / "IM1", "1.2.3")
    assert list(listed(tmp_path)) == ["deep/s", "deep/y", "t/1", "t/2", "x"]


def bids(root: Path) -> Path:
    (root / "dataset_description.json").parent.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    return made(
        root,
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-01/anat/sub-01_FLAIR.nii.gz",
        "sub-02/ses-a/anat/sub-02_ses-a_T1w.nii.gz",
        "sub-02/ses-a/anat/sub-02_ses-a_T1w.json",
        "derivatives/other/sub-01/anat/sub-01_T1w.nii.gz",
    )


def test_bids_by_the_models_channel(tmp_path):
    bids(tmp_path)
    assert list(listed(tmp_path, "t1")) == ["sub-01_T1w", "sub-02_ses-a_T1w"]
    with pytest.raises(InputError, match="FLAIR, T1w"):
        listed(tmp_path, "ct")


def test_bids_with_several_channels_says_what_is_missing(tmp_path):
    found = list_items(str(bids(tmp_path)), channels=["T1w", "flair"])
    assert [i.id for i in found.items] == ["sub-01"]
    assert [(p.channel, Path(p.uri).name) for p in found.items[0].source.parts] == [
        ("T1w", "sub-01_T1w.nii.gz"),
        ("flair", "sub-01_FLAIR.nii.gz"),
    ]
    assert [(i.id, i.reason) for i in found.incomplete] == [("sub-02_ses-a", "it has no FLAIR")]


def test_nnunet_takes_the_tests_with_their_channels(tmp_path):
    names = {"0": "T1", "1": "T2"}
    file = {
        "channel_names": names,
        "labels": {"background": 0, "x": 1},
        "file_ending": ".nii.gz",
        "numTraining": 1,
    }
    tmp_path.joinpath("dataset.json").write_text(json.dumps(file))
    made(tmp_path, *(f"imagesT{k}/c{k}_000{n}.nii.gz" for k in "rs" for n in (0, 1)), "labelsTr/cr.nii.gz")
    found = list_items(str(tmp_path), channels=["a", "b"])
    assert found.kind == "nnU-Net"
    (item,) = found.items
    assert item.id.endswith("cs")
    assert [(p.channel, Path(p.uri).name) for p in item.source.parts] == [
        ("T1", "cs_0000.nii.gz"),
        ("T2", "cs_0001.nii.gz"),
    ]


def test_numbered_cases_without_a_data_set(tmp_path):
    made(tmp_path, "a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz")
    found = list_items(str(tmp_path), channels=["T1", "T2"])
    assert [i.id for i in found.items] == ["a"]
    assert [(i.id, i.reason) for i in found.incomplete] == [("b", "it has no file numbered 0001")]


def stac(folder: Path, **items: dict[str, object]) -> Path:
    features = [{"type": "Feature", "stac_version": "1.1.0", "id": k, "assets": v} for k, v in items.items()]
    path = folder / "search.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_stac_takes_the_image_or_the_models_bands(tmp_path):
    made(tmp_path, "one.tif", "r.tif", "n.tif")
    path = stac(
        tmp_path,
        one={"data": {"href": "./one.tif"}, "thumbnail": {"href": "t.tif", "roles": ["thumbnail"]}},
        two={
            "B04": {"href": "r.tif", "bands": [{"name": "B04", "eo:common_name": "red"}]},
            "nir": {"href": "s3://bucket/n.tif"},
            "mtd": {"href": "mtd.xml"},
        },
        three={"B04": {"href": "r.tif"}, "B03": {"href": "n.tif"}},
    )
    found = list_items(str(path), channels=["red", "nir"])
    items = {i.id: [(p.channel, p.uri) for p in i.source.parts] for i in found.items}
    assert items == {
        "one": [(None, str(tmp_path / "one.tif"))],
        "two": [("red", str(tmp_path / "r.tif")), ("nir", "s3://bucket/n.tif")],
    }
    assert [i.id for i in found.incomplete] == ["three"]
    assert "its images are B04, B03" in found.incomplete[0].reason


@pytest.mark.parametrize("href", ["../secret.tif", "/etc/x.tif", "file:///etc/x.tif", "http://x/y.tif"])
def test_stac_stays_in_its_folder(tmp_path, href):
    folder = tmp_path / "in"
    folder.mkdir()
    path = stac(folder, a={"data": {"href": href}})
    with pytest.raises(InputError, match="outside its own folder"):
        listed(path)


def test_names_of_results_have_no_slash():
    assert flat("2020/a") == "2020__a"
