"""Makes DICOM series from arrays with pydicom, as scanners and archives leave them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

#: What the tests of the private mode look for.
PLANT = "Zebedee"


def to_lps(affine: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """A RAS+ affine of ``i`` (columns), ``j`` (rows), ``k`` in DICOM's axes."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(affine, float)


def header(uid: str, *, n: int, number: int, modality: str, plant: str) -> Dataset:
    """What every file of a series says; with ``plant``, everywhere where a name could be."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = generate_uid(entropy_srcs=[uid, str(n)])
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    ds.SeriesInstanceUID = uid
    ds.FrameOfReferenceUID = generate_uid(entropy_srcs=["space"])
    ds.PatientName, ds.PatientID = f"{plant}Name^Jo", f"{plant}ID"
    ds.PatientBirthDate, ds.PatientSex = "19700101", "O"
    ds.StudyID, ds.AccessionNumber = f"{plant}Std", f"{plant}Acc"
    ds.StudyDate, ds.StudyTime = "20200102", "030405"
    ds.SeriesDate, ds.SeriesTime = "20200102", "030405"
    ds.ReferringPhysicianName = f"{plant}Ref"
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = modality, number, 1000 - n
    ds.Manufacturer = "maker"
    if plant:
        ds.InstitutionName = f"{plant}Hospital"
        ds.PatientComments = f"{plant} comments"
        ds.SeriesDescription = f"{plant} series"
        ds.StudyDescription = f"{plant} study"
        ds.ConvolutionKernel = f"{plant}B30"
        ds.ImageComments = f"{plant} image"
        block = ds.private_block(0x0029, f"{plant} PRIVATE", create=True)
        block.add_new(1, "LO", f"{plant} hidden")
    return ds


def pixels(ds: Dataset, values: npt.NDArray[np.int16], *, slope: float = 1, intercept: float = 0) -> None:
    """Puts a frame ``(rows, columns)``, or several, of int16 into a data set."""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = values.shape[-2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleSlope, ds.RescaleIntercept = str(slope), str(intercept)
    ds.PixelData = np.ascontiguousarray(values, "<i2").tobytes()


def text(value: float) -> str:
    """At most sixteen characters, as DICOM's decimal strings."""
    return pydicom.valuerep.format_number_as_ds(float(value))


def place(ds: Dataset, affine: npt.NDArray[np.float64], k: float) -> None:
    """Where slice ``k`` of a volume with this affine (DICOM's axes) lies."""
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    row, column = affine[:3, 0] / steps[0], affine[:3, 1] / steps[1]
    ds.ImagePositionPatient = [text(v) for v in affine[:3, 3] + k * affine[:3, 2]]
    ds.ImageOrientationPatient = [text(v) for v in (*row, *column)]
    ds.PixelSpacing = [text(steps[1]), text(steps[0])]
    ds.SliceThickness = text(steps[2])


def write_series(
    folder: Path,
    volume: npt.NDArray[np.int16],
    affine: npt.ArrayLike,
    *,
    name: Callable[[int], str] = lambda n: f"IM{(n * 7919) % 10007:05d}",
    uid: str = "series",
    number: int = 2,
    modality: str = "CT",
    slope: float = 1,
    intercept: float = 0,
    plant: str = "",
    change: Callable[[Dataset, int], None] = lambda ds, k: None,
    only: Iterable[int] | None = None,
) -> list[Path]:
    """One file per slice ``k`` of a volume ``(i, j, k)`` of stored values, with shuffled names and numbers.

    Args:
        change: Is given each data set with its ``k`` before it is written.
        only: Slices that are written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lps = to_lps(affine)
    made = []
    for k in range(volume.shape[2]) if only is None else only:
        ds = header(generate_uid(entropy_srcs=[uid]), n=k, number=number, modality=modality, plant=plant)
        place(ds, lps, k)
        pixels(ds, volume[:, :, k].T, slope=slope, intercept=intercept)
        change(ds, k)
        path = folder / name(k)
        ds.save_as(path, enforce_file_format=True)
        made.append(path)
    return made


def write_enhanced(path: Path, volume: npt.NDArray[np.int16], affine: npt.ArrayLike, **options: Any) -> None:
    """One file with all slices ``k``, the last one first."""
    lps = to_lps(affine)
    ds = header(
        generate_uid(entropy_srcs=["enhanced"]), n=0, number=4, modality="CT", plant=options.get("plant", "")
    )
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    order = range(volume.shape[2])[::-1]
    pixels(ds, np.stack([volume[:, :, k].T for k in order]))
    del ds.RescaleSlope, ds.RescaleIntercept
    ds.NumberOfFrames = volume.shape[2]
    groups = []
    for k in order:
        whole, group = Dataset(), Dataset()
        place(whole, lps, k)
        position = Dataset()
        position.ImagePositionPatient = whole.ImagePositionPatient
        group.PlanePositionSequence = Sequence([position])
        groups.append(group)
    shared, measures, planes, values = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = whole.PixelSpacing, whole.SliceThickness
    planes.ImageOrientationPatient = whole.ImageOrientationPatient
    values.RescaleSlope, values.RescaleIntercept = "1", "-1024"
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([planes])
    shared.PixelValueTransformationSequence = Sequence([values])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)


def phantom(shape: tuple[int, int, int] = (14, 11, 9)) -> npt.NDArray[np.int16]:
    """Values that are all different, some below zero."""
    return (np.arange(np.prod(shape)).reshape(shape) - 700).astype(np.int16)


def oblique() -> npt.NDArray[np.float64]:
    """A turned grid with three different steps."""
    turn = nib.eulerangles.euler2mat(0.3, -0.2, 0.1)
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.8, -0.9, 2.5])
    affine[:3, 3] = 12.5, -30.25, 7
    return affine
