"""Studies of a folder tree as an archive exports it: one item each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tasks.imagery.source import Source
from tasks.items.item import ListedItem, Listing, ordered

#: Files of a folder that are looked at for one of DICOM.
_LOOK = 20


def studies(root: Path) -> list[Path]:
    """The largest folders that hold one study each; the tree itself where it is one, or cannot be split.

    Of which series a study's image is made is decided when it is opened, by the model's card.

    Args:
        root: A folder with DICOM below it.
    """
    return list(_split(root, dict(_studies(root)))) or [root]


def list_dicom(root: Path) -> Listing | None:
    """An archive's export as a list of its studies; None where it is one."""
    found = studies(root)
    if found == [root]:
        return None
    return ordered("DICOM studies", [ListedItem(p.relative_to(root).as_posix(), Source.of(p)) for p in found])


def _split(folder: Path, found: dict[Path, str]) -> Iterator[Path]:
    below = {p: study for p, study in found.items() if p.is_relative_to(folder)}
    if len(set(below.values())) <= 1 or folder in below:
        if below:
            yield folder
        return
    for child in sorted(p for p in folder.iterdir() if p.is_dir()):
        yield from _split(child, below)


def _studies(root: Path) -> Iterator[tuple[Path, str]]:
    """Folders that hold DICOM files themselves, each with the study of the first of them."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    for folder, _, names in os.walk(root):
        for name in sorted(names)[:_LOOK]:
            try:
                head = dcmread(
                    Path(folder, name), stop_before_pixels=True, specific_tags=["StudyInstanceUID"]
                )
            except (InvalidDicomError, OSError, ValueError):
                continue  # a text file, a damaged one: opening its series says so
            if uid := head.get("StudyInstanceUID"):
                yield Path(folder), str(uid)
                break
