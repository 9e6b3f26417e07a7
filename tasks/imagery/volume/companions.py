"""Volumes in two files: which file holds the voxels, and that it lies beside its header."""

from __future__ import annotations

import struct
from pathlib import Path

from tasks.errors import InputError
from tasks.imagery.volume import inflate

#: Longest text header that is looked through.
MAX_TEXT = 1 << 20


def is_pair(path: Path) -> bool:
    """Whether a ``.hdr`` or ``.img`` file is part of a NIfTI or Analyze pair."""
    try:
        header = pair_of(path)[0]
        head = inflate.head_of(header, 4) if header.suffix.lower() == ".gz" else _head(header)
    except (InputError, OSError):
        return False
    return len(head) == 4 and bool({348, 540} & {*struct.unpack("<i", head), *struct.unpack(">i", head)})


def pair_of(path: Path) -> tuple[Path, Path]:
    """The header and the image file of a pair, whichever of the two is named.

    Raises:
        InputError: One of the two is missing.
    """
    name = path.name
    packed = ".gz" if name.lower().endswith(".gz") else ""
    stem = name[: len(name) - len(packed) - 4]
    found = []
    for ending in (".hdr", ".img"):
        options = [stem + e + p for e in (ending, ending.upper()) for p in (packed, "", ".gz", ".GZ")]
        there = [path.with_name(o) for o in options if path.with_name(o).is_file()]
        if not there:
            raise InputError(
                f"{path} is one of a pair and {stem}{ending} is not beside it; copy both files into one folder."
            )
        found.append(there[0])
    return found[0], found[1]


def _head(path: Path) -> bytes:
    with path.open("rb") as f:
        return f.read(4)


def text_fields(path: Path) -> tuple[dict[str, str], int]:
    """The fields of a NRRD or MetaImage header, names in lower case, and the byte where it ends.

    Raises:
        InputError: It has no end.
    """
    nrrd = path.suffix.lower() in (".nrrd", ".nhdr")
    fields: dict[str, str] = {}
    with path.open("rb") as f:
        while f.tell() < MAX_TEXT:
            raw = f.readline(MAX_TEXT)
            line = raw.decode("utf-8", "replace").strip()
            if not raw or (nrrd and not line):
                return fields, f.tell()
            if nrrd and (line.startswith("#") or ":=" in line):
                continue
            name, mark, value = line.partition(":" if nrrd else "=")
            if mark:
                key = name.strip().lower()
                if key in fields:
                    raise InputError(f"{path} states {key} twice; export it again.")
                fields[key] = value.strip()
            if not nrrd and name.strip().lower() == "elementdatafile":
                return fields, f.tell()
    raise InputError(f"{path} has a header without an end; export it again.")


def data_file(path: Path, fields: dict[str, str]) -> Path | None:
    """The file of its own that a header names for its voxels; None: they follow the header.

    A header may come from anywhere, so it may only name a file of its own folder.

    Raises:
        InputError: It names a list, an address, or a file elsewhere.
    """
    named = next((fields[k] for k in ("data file", "datafile", "elementdatafile") if k in fields), None)
    if named is None or named == "LOCAL":
        return None
    several = named.split()[0].upper() == "LIST" if named else True
    if several or "%" in named:
        raise InputError(
            f"{path} keeps its voxels in several files; write it as one file with SimpleITK or 3D Slicer."
        )
    inside = Path(named)
    found = path.parent / inside
    outside = inside.is_absolute() or ".." in inside.parts or "\\" in named or ":" in named
    if outside or not found.resolve().is_relative_to(path.parent.resolve()):
        raise InputError(
            f"{path} names voxels outside its own folder ({named}); copy that file beside the header and correct "
            "the name in it."
        )
    if not found.is_file():
        raise InputError(f"{path} names the file {named}, which is not beside it; copy both into one folder.")
    return found


def companions(path: Path) -> list[Path]:
    """The other file of a volume in two files, which holds what is read.

    Raises:
        InputError: It is not there, or may not be read.
    """
    lower = path.name.lower()
    if lower.endswith((".nhdr", ".mhd", ".nrrd", ".mha")):
        found = data_file(path, text_fields(path)[0])
        return [] if found is None else [found]
    if lower.endswith((".hdr", ".img", ".hdr.gz", ".img.gz")) and is_pair(path):
        return [p for p in pair_of(path) if p != path]
    return []
