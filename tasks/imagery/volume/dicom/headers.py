"""What the headers of a DICOM folder say, file by file, frame by frame; no pixel is read, and nothing is believed.

No sentence here holds a file's name or a text from a header: those name patients.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from tasks.imagery.volume.dicom.slices import (
    CONTENTS,
    FOREIGN,
    NATIVE,
    TIME_KEYS,
    Frame,
    Header,
    Reject,
    Stored,
)

#: More files than these in one folder are refused: it is an archive, not a patient.
MAX_FILES = 200_000
#: Files that are looked at to tell whether a folder holds DICOM.
_LOOK = 2000
#: The ending of a file's name; numbers after a dot are none.
_ENDING = re.compile(r"\.[A-Za-z]\w*$")
#: Bytes of one frame, decoded, at most.
MAX_FRAME = 1 << 30
#: Compressed syntaxes that pydicom or ITK decode here.
_COMPRESSED = {
    "1.2.840.10008.1.2.5",
    *(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91)),
}
_TAGS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "SeriesNumber",
    "SeriesDescription",
    "Modality",
    "ImageType",
    "ConvolutionKernel",
    "SliceThickness",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "TemporalPositionIdentifier",
    "TriggerTime",
    "AcquisitionNumber",
    "AcquisitionTime",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]


def holds_dicom(folder: Path) -> bool:
    """Whether a folder, or one below it, holds a DICOM file; see ``tasks.imagery.formats.Format``."""
    for n, path in enumerate(_files(folder)):
        if n == _LOOK:
            return False
        if _has_preamble(path):
            return True
    return False


def is_dicom_file(path: Path) -> bool:
    """Whether a file whose name has no ending (``IM-0001``, ``1.2.840.10``) is DICOM by its preamble.

    Other formats' files may begin as DICOM too, a TIFF as pathology's scanners write it: their names count.
    """
    return _ENDING.search(path.name) is None and path.name.upper() != CONTENTS and _has_preamble(path)


def headers(source: Path) -> tuple[tuple[Header, ...], tuple[Reject, ...]]:
    """The headers of every file of a folder tree, or of one file; read anew only if a file changed.

    Raises:
        ValueError: There are too many files.
    """
    found: list[tuple[str, int, int, int]] = []
    for path in [source] if source.is_file() else _files(source):
        if len(found) == MAX_FILES:
            raise ValueError(f"more than {MAX_FILES} files")
        stat = path.stat()
        found.append((str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino))
    return _headers(tuple(found))


def _files(folder: Path) -> Iterator[Path]:
    for base, folders, names in os.walk(folder):
        folders.sort()
        yield from (p for n in sorted(names) if (p := Path(base, n)).is_file())


def _has_preamble(path: Path) -> bool:
    try:
        with path.open("rb") as f:
            f.seek(128)
            return f.read(4) == b"DICM"
    except OSError:
        return False


@lru_cache(maxsize=4)
def _headers(files: tuple[tuple[str, int, int, int], ...]) -> tuple[tuple[Header, ...], tuple[Reject, ...]]:
    _be_silent()
    good: list[Header] = []
    bad: list[Reject] = []
    for name, size, _, _ in files:
        one = _header(Path(name), size)
        if isinstance(one, Header):
            good.append(one)
        else:
            bad.append(one)
    return tuple(good), tuple(bad)


def _be_silent() -> None:
    """Silences pydicom: it quotes values of a header in its warnings, and those may name patients."""
    from pydicom import config

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    config.settings.reading_validation_mode = config.IGNORE


def _header(path: Path, size: int) -> Header | Reject:
    """One file's; whatever is wrong with it costs only this file."""
    from pydicom import dcmread

    if path.name.upper() == "DICOMDIR":
        return Reject(CONTENTS)
    preamble = _has_preamble(path)
    if not preamble and path.suffix.lower() not in (".dcm", ".ima"):
        return Reject(FOREIGN)
    series = ""
    try:
        with path.open("rb") as f:
            head = dcmread(f, stop_before_pixels=True, specific_tags=list(_TAGS), force=not preamble)
            syntax = str(getattr(head.file_meta, "TransferSyntaxUID", "1.2.840.10008.1.2"))
            series = str(head.get("SeriesInstanceUID", ""))
            where = f.tell()
            f.seek(where)
            element = f.read(12)
        return _read(path, size, head, syntax, where, element)
    except _RefusedError as refused:
        return Reject(str(refused), series)
    except OSError:
        return Reject("that cannot be read", series)
    except (RecursionError, MemoryError):
        return Reject("with a damaged header (nested without end, or far too large)", series)
    except Exception as error:  # pydicom raises nearly anything on a damaged file
        return Reject(f"with a damaged header ({type(error).__name__})", series)


class _RefusedError(Exception):
    """Why a file holds no slice."""


def _read(path: Path, size: int, head: Any, syntax: str, where: int, element: bytes) -> Header:
    rows, columns = _whole(head, "Rows"), _whole(head, "Columns")
    if not rows or not columns or element[:2] not in (b"\xe0\x7f", b"\x7f\xe0"):
        raise _RefusedError("without an image")
    kinds = [str(v).upper() for v in _several(head.get("ImageType"))]
    if "LOCALIZER" in kinds or "SCOUT" in kinds:
        raise _RefusedError("of a localiser")
    if _whole(head, "SamplesPerPixel", 1) != 1 or not str(
        head.get("PhotometricInterpretation", "")
    ).startswith("MONOCHROME"):
        raise _RefusedError("in colours (a screenshot or a report)")
    if str(head.get("Modality", "")) in ("SEG", "RTDOSE", "PR"):
        raise _RefusedError("of a result, not of a scan")
    if head.get("ModalityLUTSequence"):
        raise _RefusedError(
            "with values behind a look-up table, which is not supported: convert it with dcm2niix"
        )
    stored = _storage(path, size, head, syntax, where, element, rows, columns)
    return Header(
        series=str(head.get("SeriesInstanceUID", "")),
        study=str(head.get("StudyInstanceUID", "")),
        space=str(head.get("FrameOfReferenceUID", "")),
        number=str(head.get("SeriesNumber", "") or ""),
        modality=str(head.get("Modality", "")),
        description=str(head.get("SeriesDescription", "")),
        kernel="\\".join(_several(head.get("ConvolutionKernel"))),
        frames=tuple(_frames(head, stored)),
    )


def _storage(
    path: Path, size: int, head: Any, syntax: str, where: int, element: bytes, rows: int, columns: int
) -> Stored:
    if syntax not in NATIVE | _COMPRESSED:
        raise _RefusedError("stored in a way that cannot be decoded here: convert it with gdcmconv --raw")
    allocated = _whole(head, "BitsAllocated", 16)
    bits = _whole(head, "BitsStored", allocated)
    if allocated not in (8, 16, 32) or not 1 <= bits <= allocated or element[2:3] in (b"\x08", b"\x09"):
        raise _RefusedError("with pixels of an unusual type: convert it with dcm2niix")
    if _whole(head, "HighBit", bits - 1) != bits - 1:
        raise _RefusedError("with pixels packed in an unusual way: convert it with gdcmconv --raw")
    frames = _whole(head, "NumberOfFrames", 1)
    stored = Stored(
        path=path,
        offset=where + (8 if syntax == "1.2.840.10008.1.2" else 12),
        syntax=syntax,
        rows=rows,
        columns=columns,
        allocated=allocated,
        bits=bits,
        signed=bool(_whole(head, "PixelRepresentation", 0)),
        frames=frames,
    )
    if frames < 1 or stored.frame_bytes > MAX_FRAME:
        raise _RefusedError("of an impossible size")
    # A compressed frame takes at least the eight bytes of its own tag and length.
    least = stored.frame_bytes if stored.native else 8
    if stored.offset + frames * least > size:
        raise _RefusedError("shorter than its header says: fetch it again")
    return stored


def _frames(head: Any, stored: Stored) -> Iterator[Frame]:
    each = head.get("PerFrameFunctionalGroupsSequence")
    if each is None:
        if stored.frames > 1:
            raise _RefusedError("of several frames without a place for each: convert it with dcm2niix")
        yield _frame(stored, 0, [head])
        return
    if len(each) != stored.frames:
        raise _RefusedError("of several frames without a place for each: convert it with dcm2niix")
    shared = head.get("SharedFunctionalGroupsSequence") or []
    common = [item for group in shared for item in _groups(group)]
    for index, group in enumerate(each):
        yield _frame(stored, index, [*_groups(group), *common, head])


def _groups(group: Any) -> Iterator[Any]:
    """The items of a frame's functional groups."""
    for element in group:
        if element.VR == "SQ":
            yield from element.value


def _frame(stored: Stored, index: int, places: list[Any]) -> Frame:
    """One frame; ``places`` are the data sets to look into, the nearest first."""

    def find(name: str) -> Any:
        return next((p.get(name) for p in places if p.get(name) is not None), None)

    try:
        position = _numbers(find("ImagePositionPatient"), 3)
        orientation = _numbers(find("ImageOrientationPatient"), 6)
    except ValueError:
        raise _RefusedError("without a place in the patient: convert it with dcm2niix") from None
    try:
        spacing = _numbers(find("PixelSpacing"), 2)
    except ValueError:
        raise _RefusedError("without a spacing of its pixels: convert it with dcm2niix") from None
    if min(spacing) <= 0 or max(spacing) > 1e6 or max(map(abs, position)) > 1e9:
        raise _RefusedError("with an impossible spacing or place: export it again")
    slope, intercept = _number(find("RescaleSlope"), 1.0), _number(find("RescaleIntercept"), 0.0)
    if not math.isfinite(slope) or not math.isfinite(intercept) or slope == 0:
        raise _RefusedError("with an impossible rescaling of its values: export it again")
    thickness = _number(find("SliceThickness"), math.nan)
    times = [find(key) for key in TIME_KEYS]
    times[0] = find("TemporalPositionIndex") if times[0] is None else times[0]
    return Frame(
        stored=stored,
        index=index,
        position=(position[0], position[1], position[2]),
        orientation=orientation,
        spacing=(spacing[0], spacing[1]),
        thickness=thickness if math.isfinite(thickness) and thickness > 0 else None,
        slope=slope,
        intercept=intercept,
        padding=_padding(find("PixelPaddingValue"), find("PixelPaddingRangeLimit")),
        times=tuple(None if t is None or str(t) == "" else str(t) for t in times),
    )


def _padding(value: Any, limit: Any) -> tuple[int, int] | None:
    if not isinstance(value, int):
        return None
    other = limit if isinstance(limit, int) else value
    return min(value, other), max(value, other)


def _whole(head: Any, name: str, default: int = 0) -> int:
    value = head.get(name)
    return default if value is None or value == "" else int(value)


def _number(value: Any, default: float) -> float:
    return default if value is None or value == "" else float(value)


def _numbers(value: Any, n: int) -> tuple[float, ...]:
    """``n`` finite numbers.

    Raises:
        ValueError: They are not.
    """
    found = tuple(float(v) for v in value or ())
    if len(found) != n or not all(map(math.isfinite, found)):
        raise ValueError(n)
    return found


def _several(value: Any) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else [str(v) for v in value]
