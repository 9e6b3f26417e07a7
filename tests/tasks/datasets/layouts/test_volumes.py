"""Decathlon and nnU-Net."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tasks.datasets.dataset import IGNORE
from tasks.datasets.open import open_dataset
from tasks.datasets.pair import open_pair
from tasks.errors import InputError
from tests.tasks.datasets.conftest import save, write_json
from tests.tasks.datasets.layouts.conftest import whole

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def volume_files(root: Path, *, modalities: int, rng: np.random.Generator) -> np.ndarray:
    affine = np.diag([-1.0, 2.0, 3.0, 1.0])
    values = rng.normal(size=(5, 6, 7, modalities)).astype(np.float32)
    labels = rng.integers(0, 3, (5, 6, 7)).astype(np.uint8)
    for m in range(modalities):
        save(root / f"imagesTr/case_1_{m:04d}.nii.gz", values[..., m], affine=affine)
    save(root / "imagesTr/case_1.nii.gz", values if modalities > 1 else values[..., 0], affine=affine)
    save(root / "labelsTr/case_1.nii.gz", labels, affine=affine)
    return labels


@pytest.mark.parametrize("kind", ["nnunet v2", "nnunet v1", "decathlon"])
def test_volumes(tmp_path: Path, rng: np.random.Generator, kind: str) -> None:
    labels = volume_files(tmp_path, modalities=2, rng=rng)
    training = [{"image": "./imagesTr/case_1.nii.gz", "label": "./labelsTr/case_1.nii.gz"}]
    value = {
        "modality": {"0": "T1", "1": "T2"},
        "labels": {"0": "bg", "1": "left", "2": "right"},
        "training": training,
    }
    if kind == "nnunet v2":
        names = {"channel_names": {"0": "T1", "1": "T2"}, "file_ending": ".nii.gz", "numTraining": 1}
        value = names | {"labels": {"bg": 0, "left": 1, "ignore": 2}}
    if kind == "decathlon":
        for path in tmp_path.glob("imagesTr/*_000?.nii.gz"):
            path.unlink()
    else:
        (tmp_path / "imagesTr/case_1.nii.gz").unlink()
    write_json(tmp_path / "dataset.json", value)
    dataset = open_dataset(tmp_path)
    assert dataset.layout == kind.split()[0]
    assert [c.name for c in dataset.channels] == ["T1", "T2"]
    assert [i.id for i in dataset.items] == ["case_1"]
    assert dataset.ndim == 3
    image, truth = whole(dataset, "case_1", tmp_path / "scratch")
    # canonical z y x of a file whose first axis runs to the left
    expected = labels[::-1].transpose(2, 1, 0).astype(int)
    if kind == "nnunet v2":
        expected[expected == 2] = IGNORE
    np.testing.assert_array_equal(truth, expected)
    assert image.shape == (7, 6, 5, 2)
    pair = open_pair(dataset, dataset.items[0], scratch=tmp_path / "scratch")
    assert pair.spacing == pytest.approx((3.0, 2.0, 1.0))
    pair.close()


def test_volume_labels_that_overlap_are_refused(tmp_path: Path) -> None:
    write_json(
        tmp_path / "dataset.json",
        {
            "channel_names": {"0": "CT"},
            "labels": {"background": 0, "whole": [1, 2]},
            "file_ending": ".nii.gz",
        },
    )
    with pytest.raises(InputError, match="label 'whole' is a region of several values"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("path", ["../other/x.nii.gz", "/etc/passwd", "a/../../x.nii.gz"])
def test_manifest_paths_stay_inside(tmp_path: Path, path: str) -> None:
    pairs = [{"image": path, "label": "labelsTr/x.nii.gz"}]
    write_json(
        tmp_path / "d/dataset.json",
        {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "a"}, "training": pairs},
    )
    with pytest.raises(InputError, match="lies outside"):
        open_dataset(tmp_path / "d")


def test_ct_organs_as_nnunet(shared_data: Path, tmp_path: Path) -> None:
    for name, target in (("example_ct", "imagesTr/ct_0000"), ("example_seg_fast_force_split", "labelsTr/ct")):
        (tmp_path / target).parent.mkdir()
        (tmp_path / f"{target}.nii.gz").symlink_to(shared_data / "ct-organs" / f"{name}.nii.gz")
    labels = {"background": 0, "spleen": 1, "liver": 5} | {f"v{i}": i for i in range(2, 118) if i != 5}
    write_json(
        tmp_path / "dataset.json", {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".nii.gz"}
    )
    dataset = open_dataset(tmp_path)
    image, truth = whole(dataset, "ct", tmp_path / "scratch")
    voxel = abs(np.linalg.det(nib.load(tmp_path / "imagesTr/ct_0000.nii.gz").affine[:3, :3])) / 1000
    # as the data's own notes say
    assert (truth == 5).sum() * voxel == pytest.approx(1125.684, abs=0.01)
    assert image[truth == 5].mean() == pytest.approx(44.46, abs=0.01)
