"""A mask as DICOM segmentation: binary segments on the source's own slices, the same file for the same run.

Made by highdicom from a mapped file of segment numbers, so that memory holds one bit per voxel and segment
beside a page of that file. Binary rather than label map: few viewers open the latter yet.
"""

from __future__ import annotations

import datetime
import gzip
import hashlib
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from segmodels.bundles.card import ClassCard
from segmodels.bundles.series import Coding
from tasks.files import atomic_write, writing
from tasks.imagery.volume.dicom.stack import Stack

NAME = "mask.dcm"
#: Where a card says nothing: a tissue, of which nothing else is known.
UNKNOWN = Coding(value="85756007", meaning="Tissue", category="85756007", category_meaning="Tissue")
#: Series numbers of results begin here, above those of scanners.
_SERIES = 9000


def segments_of(classes: Sequence[ClassCard]) -> list[ClassCard]:
    """Classes that become segments: those that are measured, not the background."""
    return [c for c in classes if c.region]


def write_segmentation(
    mask: Path,
    target: Path,
    *,
    stack: Stack,
    classes: Sequence[ClassCard],
    record: dict[str, Any],
    scratch: Path,
) -> str | None:
    """Writes ``mask.dcm`` beside a finished mask.

    Args:
        mask: ``mask.nii.gz`` of the whole series, in the series' own axes.
        target: Where to.
        stack: The slices that the mask lies on; one time point.
        classes: Of the model's card.
        record: What ``run.json`` will hold.
        scratch: Folder for a temporary file of as many bytes as there are voxels.

    Returns:
        Why there is none, if so: a sentence without anything from a header.

    Raises:
        OutputError: The disk cannot take it.
    """
    wanted = segments_of(classes)
    if not wanted:
        return f"no {NAME} is made: the model has no class that is a segment"
    flat = scratch / "segments.flat"
    try:
        with writing(flat):
            scratch.mkdir(parents=True, exist_ok=True)
            digest = _flatten(mask, flat, stack, wanted)
        try:
            made = _made(flat, stack, wanted, record, digest)
        except (AttributeError, KeyError, TypeError, ValueError, NotImplementedError) as error:
            # Its text may quote a header.
            return f"no {NAME} is made: the series' headers lack what one needs ({type(error).__name__})"
        with atomic_write(target) as stream:
            made.save_as(stream, enforce_file_format=True)
    finally:
        with suppress(FileNotFoundError):
            flat.unlink()
    return None


def _dtype(wanted: Sequence[ClassCard]) -> np.dtype[Any]:
    return np.dtype(np.uint8 if len(wanted) < 256 else np.uint16)


def _flatten(mask: Path, flat: Path, stack: Stack, wanted: Sequence[ClassCard]) -> str:
    """Segment numbers, slice by slice in the order that the source's frames have; gives their digest."""
    loaded: Any = nib.load(mask)
    stored = loaded.dataobj
    first = stack.frames[0][0].stored
    shape, dtype = (first.rows, first.columns), stored.dtype
    numbers = np.zeros(1 << (8 * dtype.itemsize), _dtype(wanted))
    for n, c in enumerate(wanted, 1):
        numbers[c.code] = n
    size = shape[0] * shape[1] * dtype.itemsize
    places = _places(stack)
    digest = hashlib.sha256()
    with gzip.open(mask, "rb") as stream, flat.open("wb") as out:
        stream.seek(stored.offset)
        for place in places:
            codes = np.frombuffer(stream.read(size), dtype).reshape(shape)
            slice_ = numbers[codes]
            digest.update(slice_.tobytes())
            out.seek(place * slice_.nbytes)
            out.write(slice_.tobytes())
    return digest.hexdigest()


def _places(stack: Stack) -> list[int]:
    """For each slice, its place among the source's frames: as sorted, or as one file holds them."""
    frames = stack.frames[0]
    if len({f.stored.path for f in frames}) == 1:
        return [f.index for f in frames]
    return list(range(len(frames)))


def _made(flat: Path, stack: Stack, wanted: Sequence[ClassCard], record: dict[str, Any], digest: str) -> Any:
    import highdicom as hd
    from pydicom import dcmread
    from pydicom.uid import generate_uid

    frames = stack.frames[0]
    files = list(dict.fromkeys(f.stored.path for f in frames))
    if len(files) not in (1, len(frames)) or (len(files) == 1 and frames[0].stored.frames != len(frames)):
        raise ValueError("frames of several kinds of files")
    sources = [dcmread(path, stop_before_pixels=True) for path in files]
    shape = (len(frames), frames[0].stored.rows, frames[0].stored.columns)
    pixels = np.memmap(flat, _dtype(wanted), "r", shape=shape)
    said = [
        digest,
        str(sources[0].SeriesInstanceUID),
        record["bundle"]["digest"],
        record["parameters_digest"],
        record["input"]["digest"],
    ]

    def uid(what: str) -> str:
        """The same for the same run."""
        return str(generate_uid(entropy_srcs=["segflow", what, *said]))

    algorithm = hd.AlgorithmIdentificationSequence(
        name=record["bundle"]["name"],
        family=_code(Coding(scheme="DCM", value="123109", meaning="Artificial Intelligence")),
        version=str(record["bundle"]["version"]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote headers
        made = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=pixels,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_segment(n, c, algorithm) for n, c in enumerate(wanted, 1)],
            series_instance_uid=uid("series"),
            series_number=_SERIES + int(getattr(sources[0], "SeriesNumber", 0) or 0) % 1000,
            sop_instance_uid=uid("instance"),
            instance_number=1,
            manufacturer="segflow",
            manufacturer_model_name=record["bundle"]["name"],
            software_versions=record["segflow"],
            device_serial_number=record["bundle"]["digest"].removeprefix("sha256:")[:16],
            content_label="SEGMENTATION",
            content_description=f"{record['bundle']['name']} {record['bundle']['version']}"[:64],
            series_description=f"segflow {record['bundle']['name']}"[:64],
        )
    _settle(made, sources[0], uid("dimensions"))
    return made


def _segment(number: int, card: ClassCard, algorithm: Any) -> Any:
    import highdicom as hd

    coding = card.coding or UNKNOWN
    rgb = [int(card.colour[n : n + 2], 16) for n in (1, 3, 5)]
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=card.name[:64],
        segmented_property_category=_code(Coding(value=coding.category, meaning=coding.category_meaning)),
        segmented_property_type=_code(coding),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        display_color=hd.color.CIELabColor.from_rgb(*rgb),
    )


def _code(coding: Coding) -> Any:
    import highdicom as hd

    return hd.sr.CodedConcept(value=coding.value, scheme_designator=coding.scheme, meaning=coding.meaning)


def _settle(made: Any, source: Any, dimensions: str) -> None:
    """Nothing that would differ between two runs: dates are the source's, or none that anybody could mean."""
    from pydicom.valuerep import DA, TM

    date = _first(source, "SeriesDate", "AcquisitionDate", "StudyDate") or DA(datetime.date(1900, 1, 1))
    time = _first(source, "SeriesTime", "AcquisitionTime", "StudyTime") or TM(datetime.time(0))
    for name in ("InstanceCreation", "Content", "Series"):
        setattr(made, f"{name}Date", date)
        setattr(made, f"{name}Time", time)
    for item in made.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in item:
            del item.ContributionDateTime  # when it was made; optional
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        if "DimensionOrganizationUID" in item:
            item.DimensionOrganizationUID = dimensions


def _first(source: Any, *names: str) -> Any:
    return next((v for n in names if (v := getattr(source, n, None))), None)
