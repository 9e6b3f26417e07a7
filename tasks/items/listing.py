"""One door for every list of items."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tasks.errors import InputError
from tasks.imagery.source import Source
from tasks.items.bids import list_bids, looks_like_bids
from tasks.items.cases import list_cases, list_volumes, looks_like_cases, looks_like_volumes
from tasks.items.dicom import list_dicom
from tasks.items.files import has_wildcard, kind_of, list_folder, list_glob
from tasks.items.item import ListedItem, Listing
from tasks.items.stac import list_stac, looks_like_stac


def list_items(where: str, *, channels: Sequence[str], match: str | None = None) -> Listing:
    """The items that a source of many images holds, in a fixed order; no pixel is read.

    Args:
        where: A glob; a folder of images, an archive's export of DICOM studies, a BIDS dataset, an nnU-Net or Decathlon data set, a folder of
            ``case_0000.nii.gz`` files; a STAC ItemCollection; or a single image.
        channels: Names of the model's channels, which decide what makes an item.
        match: Only items whose id this pattern fits.

    Raises:
        InputError: There is nothing, or nothing that fits.
    """
    found = _list(where, list(channels))
    chosen = found.matching(match)
    if not chosen.items and not chosen.incomplete:
        what = f"no item of {where} has an id like {match}" if found.items else f"{where} holds no image"
        raise InputError(f"{what}: check the path and the pattern")
    return chosen


def _list(where: str, channels: list[str]) -> Listing:
    if has_wildcard(where):
        return list_glob(where)
    path = Path(where)
    if looks_like_stac(path):
        return list_stac(path, channels)
    kind = kind_of(path) if path.is_dir() else None
    if kind is not None and kind.name == "dicom" and (exported := list_dicom(path)) is not None:
        return exported
    if path.is_dir() and kind is None:
        if looks_like_bids(path):
            return list_bids(path, channels)
        if looks_like_volumes(path):
            return list_volumes(path, channels)
        return list_cases(path, channels) if looks_like_cases(path) else list_folder(path)
    source = Source.of(where)
    if not source.remote and not path.exists():
        raise InputError(f"{where} does not exist: check the path")
    return Listing("images", (ListedItem(source.name, source),))
