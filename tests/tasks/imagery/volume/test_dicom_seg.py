"""DICOM segmentations: read back by highdicom and ITK they are the mask, on the source's own slices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import highdicom as hd
import nibabel as nib
import numpy as np
import numpy.typing as npt
import pydicom
import SimpleITK

from segmodels.bundles.card import Card, ClassCard
from segmodels.bundles.series import Coding
from tasks.imagery.open import open_image
from tasks.imagery.volume.dicom.image import DicomImage
from tasks.imagery.volume.dicom.price import dicom_disk
from tasks.imagery.volume.dicom.seg import write_segmentation
from tasks.imagery.writers import create_mask
from tests.tasks.imagery.volume.dicom_series import oblique, phantom, to_lps, write_enhanced, write_series

LIVER = Coding(value="10200004", meaning="Liver")
CLASSES = (
    ClassCard(name="background", code=0, colour="#000000", region=False),
    ClassCard(name="liver", code=4, colour="#a4502f", coding=LIVER),
    ClassCard(name="lesion", code=7, colour="#ff0000"),
)
RECORD = {
    "segflow": "1.0",
    "bundle": {"name": "organs", "version": "3", "digest": "sha256:" + "ab" * 32},
    "parameters_digest": "sha256:1",
    "input": {"digest": "sha256:2"},
}
#: ITK reads bits only where a slice fills whole bytes.
SHAPE = (16, 11, 9)


def codes() -> npt.NDArray[np.uint8]:
    """A mask ``(i, j, k)`` with every code that there is."""
    made = np.random.default_rng(5).choice(np.array([0, 4, 7, 253, 254, 255], np.uint8), SHAPE)
    made[:, :, 3] = 0
    return made


def made(source: Path, out: Path, mask: npt.NDArray[np.uint8]) -> Any:
    """The segmentation of a series whose mask is given in native axes."""
    out.mkdir()
    image = open_image(source, scratch=out)
    assert isinstance(image, DicomImage)
    writer = create_mask(image.info, out / "mask.nii.gz", classes=CLASSES, wide=False, tags={})
    affine = np.array(image.info.grid["affine"])
    seen = nib.as_closest_canonical(nib.Nifti1Image(mask, affine))
    writer.write(tuple(slice(0, n) for n in image.info.shape), np.asarray(seen.dataobj).transpose(2, 1, 0))
    writer.finish()
    left_out = write_segmentation(
        out / "mask.nii.gz", out / "mask.dcm", stack=image.stack, classes=CLASSES, record=RECORD, scratch=out
    )
    assert left_out is None
    assert {p.name for p in out.iterdir()} == {"mask.nii.gz", "mask.dcm"}
    return hd.seg.segread(out / "mask.dcm")


def test_segments_are_the_mask_on_the_sources_slices(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", phantom(SHAPE), oblique(), plant="Doe")
    mask = codes()
    seg = made(tmp_path / "in", tmp_path / "out", mask)
    sources = [pydicom.dcmread(p) for p in paths]  # in the order of k
    for number, code in ((1, 4), (2, 7)):
        read = seg.get_pixels_by_source_instance(
            [s.SOPInstanceUID for s in sources], segment_numbers=[number],
            ignore_spatial_locations=False, assert_missing_frames_are_empty=True,
        )[..., 0]  # fmt: skip
        assert np.array_equal(read, (mask == code).transpose(2, 1, 0))
    assert seg.number_of_segments == 2
    liver, lesion = (seg.get_segment_description(n) for n in (1, 2))
    assert (liver.segment_label, liver.segmented_property_type.value) == ("liver", "10200004")
    assert liver.segmented_property_category.meaning == "Anatomical Structure"
    assert lesion.segmented_property_type.meaning == "Tissue"
    assert seg.FrameOfReferenceUID == sources[0].FrameOfReferenceUID
    assert (seg.StudyInstanceUID, seg.PatientID) == (sources[0].StudyInstanceUID, sources[0].PatientID)
    assert not [e for e in seg.iterall() if e.tag.is_private]


def test_what_it_takes_on_the_disk_is_priced(tmp_path: Path) -> None:
    write_series(tmp_path / "in", phantom(SHAPE), np.diag([-1.0, -1, 3, 1]))
    made(tmp_path / "in", tmp_path / "out", codes())
    info = open_image(tmp_path / "in", scratch=tmp_path).info
    card = SimpleNamespace(classes=CLASSES)
    stays, flat = dicom_disk(info, cast(Card, card))
    assert flat == np.prod(SHAPE)
    assert (tmp_path / "out" / "mask.dcm").stat().st_size <= stays
    assert dicom_disk(replace(info, format="nifti"), cast(Card, card)) == (0, 0)


def test_itk_finds_it_where_the_scan_is(tmp_path: Path) -> None:
    """Every plane that holds a segment lies where the scan's own slice does."""
    affine = np.diag([-0.8, -0.9, 2.5, 1])
    affine[:3, 3] = 10, 20, 30
    write_series(tmp_path / "in", phantom(SHAPE), affine)
    mask = np.where(codes() == 4, 4, 0).astype(np.uint8)
    mask[0, 0, 3] = 4  # no slice without
    made(tmp_path / "in", tmp_path / "out", mask)
    image = SimpleITK.ReadImage(str(tmp_path / "out" / "mask.dcm"))
    read = SimpleITK.GetArrayFromImage(image)
    assert read.shape == SHAPE[::-1]
    for n in range(SHAPE[2]):
        corner = [*image.TransformIndexToPhysicalPoint((0, 0, n)), 1]
        i, j, k = np.rint((np.linalg.inv(to_lps(affine)) @ corner)[:3]).astype(int)
        assert (i, j) == (0, 0)
        assert np.array_equal(read[n] > 0, (mask[:, :, k] == 4).T)


def test_equal_runs_give_equal_files(tmp_path: Path) -> None:
    write_series(tmp_path / "in", phantom(SHAPE), oblique())
    first, other = codes(), codes()
    other[0, 0, 0] = 4 if other[0, 0, 0] != 4 else 0
    one = made(tmp_path / "in", tmp_path / "1", first)
    made(tmp_path / "in", tmp_path / "2", first)
    third = made(tmp_path / "in", tmp_path / "3", other)
    assert (tmp_path / "1" / "mask.dcm").read_bytes() == (tmp_path / "2" / "mask.dcm").read_bytes()
    assert one.SOPInstanceUID != third.SOPInstanceUID


def test_one_file_with_many_frames_is_referenced_by_frame(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "in" / "scan.dcm", phantom(SHAPE), oblique())
    source, mask = pydicom.dcmread(tmp_path / "in" / "scan.dcm"), codes()
    seg = made(tmp_path / "in", tmp_path / "out", mask)
    frames = list(range(1, SHAPE[2] + 1))
    read = seg.get_pixels_by_source_frame(
        source.SOPInstanceUID, frames, segment_numbers=[2],
        ignore_spatial_locations=False, assert_missing_frames_are_empty=True,
    )[..., 0]  # fmt: skip
    assert np.array_equal(read[::-1], (mask == 7).transpose(2, 1, 0))  # the file has its last slice first


def test_headers_that_lack_what_is_needed_are_said(tmp_path: Path) -> None:
    def change(ds: pydicom.Dataset, k: int) -> None:
        del ds.FrameOfReferenceUID, ds.StudyInstanceUID, ds.PatientID

    write_series(tmp_path / "in", phantom(SHAPE), np.eye(4), change=change)
    image = open_image(tmp_path / "in", scratch=tmp_path)
    assert isinstance(image, DicomImage)
    writer = create_mask(image.info, tmp_path / "mask.nii.gz", classes=CLASSES, wide=False, tags={})
    writer.finish()
    said = write_segmentation(
        tmp_path / "mask.nii.gz", tmp_path / "mask.dcm", stack=image.stack, classes=CLASSES,
        record=RECORD, scratch=tmp_path / "scratch",
    )  # fmt: skip
    assert said is not None
    assert "headers lack" in said
    assert not (tmp_path / "mask.dcm").exists()
