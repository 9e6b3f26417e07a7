"""A scan as NIfTI and the same scan as DICOM give the same mask, voxel for voxel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel as nib
import numpy as np
import pytest

from tests.tasks.imagery.volume.dicom_series import PLANT, write_series


def canonical(path: Path) -> Any:
    return np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj)


@pytest.mark.slow
def test_the_mask_of_a_dicom_series_is_that_of_its_nifti(
    shared_data: Path, segflow: Any, tmp_path: Path
) -> None:
    ct = nib.load(shared_data / "ct-organs" / "example_ct.nii.gz").slicer[:, :, :64]
    # As scanners do: rows from the patient's right, columns from the front, twelve bits above -1024.
    turned = ct.as_reoriented([[0, -1], [1, -1], [2, 1]])
    values = np.clip(np.asarray(turned.dataobj), -1024, 3071).astype(np.int16)
    nib.save(nib.Nifti1Image(values, turned.affine), tmp_path / "scan.nii.gz")
    study = tmp_path / "study"
    write_series(study / "b", values + 1024, turned.affine, intercept=-1024, number=2)

    def scout(ds: Any, k: int) -> None:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    write_series(study / "a", values[:, :, :1], turned.affine, uid="scout", number=1, change=scout)
    write_series(study / "c", values[:, :, :3], turned.affine, uid="mr", number=3, modality="MR")
    plain = segflow.run(tmp_path / "scan.nii.gz", "ct-organs", tmp_path / "out")
    dicom = segflow.run(study, "ct-organs", tmp_path / "out")  # its card takes CT
    assert plain.answer["status"] == dicom.answer["status"], dicom.error
    mask = canonical(dicom.folder / "mask.nii.gz")
    assert np.array_equal(mask, canonical(plain.folder / "mask.nii.gz"))
    assert set(np.unique(mask)) >= {0, 3}
    notes = " ".join(dicom.answer["warnings"])
    assert "1 DICOM file of a localiser" in notes
    assert "(MR, number 3" in notes

    seg = hd.seg.segread(dicom.folder / "mask.dcm")
    described = [seg.get_segment_description(n) for n in range(1, 4)]
    codes = [(d.segment_label, d.segmented_property_type.value) for d in described]
    assert codes == [("liver", "10200004"), ("spleen", "78961009"), ("bones", "272673000")]
    read = seg.get_volume(combine_segments=True).to_patient_orientation("RAS").array
    lowest = np.argwhere(mask).min(axis=0)[2]  # slices without any segment at either end are not stored
    assert np.array_equal(read, mask[:, :, lowest : lowest + read.shape[2]])
    record = json.loads((dicom.folder / "run.json").read_text())
    assert record["private"] is True
    assert PLANT not in json.dumps(record)
