"""NRRD and MetaImage: SimpleITK says where the grid lies, the voxels are read as they lie in the file.

SimpleITK reads most of these files only as a whole; the header's own words on encoding and byte order let
blocks read plain bytes, or bytes inflated once, as those of a NIfTI file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.errors import InputError
from tasks.imagery.source import Source
from tasks.imagery.volume import inflate
from tasks.imagery.volume.companions import data_file, text_fields
from tasks.imagery.volume.flat import MAX_VOXELS, FlatImage, Frames, check_affine, frames_of, volume_info
from tasks.imagery.volume.voxels import Voxels
from tasks.imagery.wanted import Wanted

_REMEDY = "export it again with SimpleITK or 3D Slicer"
#: ITK counts along left, posterior, superior.
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
#: Kinds of NRRD axes along which nothing lies beside the other in space or time.
_DOMAINS = ("domain", "space", "time", "none", "???")


@dataclass(frozen=True)
class _Stored:
    """How the voxels lie in their file.

    Attributes:
        path: The file.
        start: Byte at which they, or their compressed form, begin; negative: they end with the file.
        stop: Byte at which their compressed form ends; None: with the file.
        packed: Whether they are compressed.
        big: Whether the first byte of a number is the highest.
        together: Whether a voxel's values lie side by side.
    """

    path: Path
    start: int
    stop: int | None
    packed: bool
    big: bool
    together: bool


@dataclass(frozen=True)
class _Header:
    """What SimpleITK says of a file without reading its voxels."""

    size: tuple[int, ...]
    affine: npt.NDArray[np.float64]
    dtype: np.dtype[Any]
    components: int


def open_nrrd(source: Source, *, scratch: Path, wanted: Wanted) -> FlatImage:
    """Opens ``.nrrd``, or ``.nhdr`` with its data file; see ``tasks.imagery.formats.Format``.

    Raises:
        InputError: It cannot be used as an image; the sentence says why.
        tasks.errors.OutputError: ``scratch`` cannot take the inflated data.
    """
    return _open(source, "nrrd", scratch=scratch, wanted=wanted)


def open_metaimage(source: Source, *, scratch: Path, wanted: Wanted) -> FlatImage:
    """Opens ``.mha``, or ``.mhd`` with its data file; see ``tasks.imagery.formats.Format``.

    Raises:
        InputError: It cannot be used as an image; the sentence says why.
        tasks.errors.OutputError: ``scratch`` cannot take the inflated data.
    """
    return _open(source, "metaimage", scratch=scratch, wanted=wanted)


def _open(source: Source, name: str, *, scratch: Path, wanted: Wanted) -> FlatImage:
    path = source.local
    fields, end = text_fields(path)
    # Before SimpleITK sees the file: what its header names must lie beside it.
    apart = data_file(path, fields)
    where = (path, end) if apart is None else (apart, 0)
    notes: list[str] = []
    if name == "nrrd":
        stored, listed = _nrrd(path, fields, *where)
        if "space" not in fields and "space dimension" not in fields:
            notes.append("The header states no space: its axes are taken for left, posterior, superior.")
    else:
        stored, listed = _meta(path, fields, *where), False
    header = _read_header(path)
    declared = header.size
    spatial = (*declared, 1, 1)[:3]
    count = header.components * math.prod(declared[3:])
    native = (spatial[0], spatial[1], spatial[2], 1 if stored.together else count)
    if math.prod(native) > MAX_VOXELS:
        raise InputError(f"{path} claims {math.prod(native)} voxels, more than {MAX_VOXELS:.0e}; crop it.")
    if header.components > 1 and not listed and wanted.reading.frame is None:
        frames = Frames(range(count), "channels", together=stored.together)
    else:
        found = frames_of(count, wanted, label=str(path), asked=count > 1, notes=notes)
        frames = Frames(found.shown, found.role, together=stored.together)
    size = math.prod(spatial) * count * header.dtype.itemsize
    data, offset = _plain(stored, size, path, scratch)
    shown = len(frames.shown)
    info = volume_info(
        source=source,
        name=name,
        affine=header.affine,
        unit_mm=1.0,
        native=native[:3],
        declared=(*spatial, shown) if frames.series else declared[:3],
        frames=frames,
        channels=tuple(f"component{c + 1}" for c in range(shown))
        if frames.role == "channels" and shown > 1
        else ("intensity",),
        dtype=header.dtype,
        notes=notes,
        inflated=size if stored.packed else 0,
    )
    voxels = Voxels(
        data,
        label=str(path),
        offset=offset,
        dtype=header.dtype.newbyteorder(">" if stored.big else "<"),
        shape=native,
        components=count if stored.together else 1,
    )
    return FlatImage(info, voxels, frames)


def _plain(stored: _Stored, size: int, path: Path, scratch: Path) -> tuple[Path, int]:
    """The file and the byte where plain voxels begin."""
    if stored.packed:
        return inflate.inflate(stored.path, scratch, size=size, start=stored.start, stop=stored.stop), 0
    there = stored.path.stat().st_size
    start = there - size if stored.start < 0 else stored.start
    if start < 0 or start + size > there:
        raise InputError(
            f"{path} claims {size} bytes of voxels but {stored.path.name} holds {max(0, there - max(0, start))}; "
            "fetch it again."
        )
    return stored.path, start


def _nrrd(path: Path, fields: dict[str, str], data: Path, start: int) -> tuple[_Stored, bool]:
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise InputError(
            f"{path} stores its voxels as {encoding or 'nothing that it names'}; write it with encoding raw or gzip "
            "with SimpleITK or 3D Slicer."
        )
    skipped = _number(path, fields, "byte skip", "byteskip")
    if _number(path, fields, "line skip", "lineskip") or (skipped and encoding != "raw"):
        raise InputError(f"{path} skips part of its data file; {_REMEDY}.")
    kinds = fields.get("kinds", "").lower().split()
    apart = [i for i, kind in enumerate(kinds) if kind not in _DOMAINS]
    if len(apart) > 1 or (apart and apart[0] not in (0, len(kinds) - 1)):
        raise InputError(f"{path} has its values along a middle axis ({' '.join(kinds)}); {_REMEDY}.")
    stored = _Stored(
        path=data,
        start=-1 if skipped < 0 else start + skipped,
        stop=None,
        packed=encoding != "raw",
        big=fields.get("endian", "little").lower() == "big",
        together=apart == [0],
    )
    return stored, bool(apart) and kinds[apart[0]] == "list"


def _meta(path: Path, fields: dict[str, str], data: Path, start: int) -> _Stored:
    def yes(*names: str) -> bool:
        return any(fields.get(n, "").lower() in ("true", "1") for n in names)

    if fields.get("binarydata", "true").lower() not in ("true", "1"):
        raise InputError(f"{path} stores its voxels as text; {_REMEDY}.")
    packed = yes("compresseddata")
    skipped = _number(path, fields, "headersize")
    length = _number(path, fields, "compresseddatasize")
    return _Stored(
        path=data,
        start=-1 if skipped < 0 else start + skipped,
        stop=start + length if packed and length > 0 else None,
        packed=packed,
        big=yes("binarydatabyteordermsb", "elementbyteordermsb"),
        together=_number(path, fields, "elementnumberofchannels") > 1,
    )


def _number(path: Path, fields: dict[str, str], *names: str) -> int:
    text = next((fields[n] for n in names if n in fields), "0")
    try:
        return int(text)
    except ValueError as e:
        raise InputError(f"{path} states {names[0]} as {text[:40]}, which is no number; {_REMEDY}.") from e


def _read_header(path: Path) -> _Header:
    import SimpleITK

    kinds = {
        "8-bit unsigned integer": "u1",
        "8-bit signed integer": "i1",
        "16-bit unsigned integer": "u2",
        "16-bit signed integer": "i2",
        "32-bit unsigned integer": "u4",
        "32-bit signed integer": "i4",
        "64-bit unsigned integer": "u8",
        "64-bit signed integer": "i8",
        "32-bit float": "f4",
        "64-bit float": "f8",
    }
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as e:
        reason = " ".join(str(e).split())[-160:]
        raise InputError(f"{path} has a header that SimpleITK cannot read ({reason}); {_REMEDY}.") from e
    described = SimpleITK.GetPixelIDValueAsString(reader.GetPixelID())
    kind = kinds.get(described.removeprefix("vector of "))
    if kind is None:
        raise InputError(f"{path} holds {described}, not intensities; {_REMEDY}.")
    size = tuple(int(n) for n in reader.GetSize())
    if not 2 <= len(size) <= 4 or min(size) < 1:
        raise InputError(f"{path} has the shape {size}; export it as a 2-D, 3-D or 4-D volume.")
    rank = min(len(size), 3)
    direction = np.array(reader.GetDirection(), float).reshape(len(size), len(size))
    affine = np.eye(4)
    affine[:rank, :rank] = direction[:rank, :rank] * np.array(reader.GetSpacing()[:rank], float)
    affine[:rank, 3] = reader.GetOrigin()[:rank]
    affine = _LPS_TO_RAS @ affine
    check_affine(affine, str(path), remedy=_REMEDY)
    return _Header(size, affine, np.dtype(kind), int(reader.GetNumberOfComponents()))
