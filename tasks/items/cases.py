"""Cases of nnU-Net and Decathlon folders, and of a folder of ``case_0000.nii.gz`` files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tasks.datasets.open import open_dataset
from tasks.imagery.source import Part, Source
from tasks.items.item import Incomplete, ListedItem, Listing, ordered

_CASE = re.compile(r"(.+)_(\d{4})(\.nii\.gz|\.nii|\.nrrd|\.mha|\.tif|\.png)")


def looks_like_cases(root: Path) -> bool:
    """Whether a folder holds files that are numbered by channel, as nnU-Net's input is."""
    names = [p.name for p in root.iterdir() if p.is_file()]
    numbered = [_CASE.fullmatch(n) for n in names]
    return any(m is not None and m[2] == "0000" for m in numbered)


def looks_like_volumes(root: Path) -> bool:
    """Whether a folder is an nnU-Net or Decathlon data set."""
    return (root / "dataset.json").is_file() and (root / "imagesTr").is_dir()


def list_volumes(root: Path, channels: Sequence[str]) -> Listing:
    """Cases of a data set: those for tests (``imagesTs``) where there are any, else all.

    Raises:
        InputError: Its own file is wrong.
    """
    data = open_dataset(root)
    wanted = data.split("test") or data.items
    names = [c.name for c in data.channels] if len(data.channels) > 1 else list(channels)
    return ordered(
        "nnU-Net" if data.layout == "nnunet" else "Decathlon",
        [ListedItem(i.id, _source(i.images, names)) for i in wanted],
    )


def list_cases(root: Path, channels: Sequence[str]) -> Listing:
    """Cases of a folder, their files in the order of their numbers, which are the model's channels."""
    found: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in sorted(root.iterdir()):
        match = _CASE.fullmatch(path.name)
        if match:
            found[match[1]][int(match[2])] = path
    items, incomplete = [], []
    for name, files in found.items():
        missing = [f"{n:04}" for n in range(len(channels)) if n not in files]
        if missing:
            incomplete.append(Incomplete(name, f"it has no file numbered {' and none '.join(missing)}"))
        else:
            items.append(ListedItem(name, _source([files[n] for n in range(len(channels))], channels)))
    return ordered("nnU-Net cases", items, incomplete)


def _source(paths: Sequence[Path], channels: Sequence[str]) -> Source:
    if len(paths) == 1:
        return Source.of(paths[0])
    named = len(channels) == len(paths)
    parts = (Part(uri=str(p), channel=channels[i] if named else None) for i, p in enumerate(paths))
    return Source(parts=tuple(parts))
