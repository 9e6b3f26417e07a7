"""Images of a BIDS dataset: one item per acquisition, its suffixes as channels.

Gorgolewski et al., "The brain imaging data structure", Scientific Data 2016; names as in version 1.10 of
the standard: ``sub-01/ses-2/anat/sub-01_ses-2_acq-hires_T1w.nii.gz``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tasks.errors import InputError
from tasks.imagery.source import Part, Source
from tasks.items.item import Incomplete, ListedItem, Listing, ordered

_NAME = re.compile(r"(sub-[a-zA-Z0-9+]+(?:_[a-zA-Z0-9]+-[a-zA-Z0-9+]+)*)_([a-zA-Z0-9]+)\.nii(?:\.gz)?")


def looks_like_bids(root: Path) -> bool:
    """Whether a folder says of itself that it is a BIDS dataset."""
    return (root / "dataset_description.json").is_file() and any(root.glob("sub-*"))


def list_bids(root: Path, channels: Sequence[str]) -> Listing:
    """Acquisitions that have every channel, each once; ids are BIDS names without the suffix.

    A channel's name is a suffix of the standard (``T1w``, ``flair``), in any letter case and with or
    without its last ``w``. A model of one channel whose name is none takes the one suffix there is.

    Args:
        root: The dataset; ``derivatives`` and ``sourcedata`` are left out.
        channels: Names of the model's channels.

    Raises:
        InputError: No suffix is the channel's.
    """
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in sorted(root.glob("sub-*/**/*.nii*")):
        match = _NAME.fullmatch(path.name)
        if match:
            found[match[1]][match[2]] = path
    suffixes = sorted({s for files in found.values() for s in files})
    wanted = [_suffix(c, suffixes) for c in channels]
    if len(channels) == 1 and wanted == [None] and len(suffixes) == 1:
        wanted = [suffixes[0]]
    lacking = [c for c, s in zip(channels, wanted, strict=True) if s is None]
    if lacking:
        raise InputError(
            f"{root} has no images of channel {lacking[0]}: its suffixes are {', '.join(suffixes) or 'none'}; name "
            "files instead, as a glob"
        )
    items, incomplete = [], []
    for name, files in found.items():
        missing = [str(s) for s in wanted if s not in files]
        if len(missing) == len(wanted):
            continue
        if missing:
            incomplete.append(Incomplete(name, f"it has no {' and no '.join(missing)}"))
            continue
        paths = [files[str(s)] for s in wanted]
        items.append(ListedItem(_id(name, wanted), _source(paths, channels)))
    return ordered("BIDS", items, incomplete)


def _id(name: str, suffixes: Sequence[str | None]) -> str:
    """With the suffix where it is one, as the file's own name."""
    return f"{name}_{suffixes[0]}" if len(suffixes) == 1 else name


def _suffix(channel: str, suffixes: Sequence[str]) -> str | None:
    def plain(text: str) -> str:
        return re.sub(r"(?<=\d)w$", "", re.sub(r"[^a-z0-9]", "", text.lower()))

    return next((s for s in suffixes if plain(s) == plain(channel)), None)


def _source(paths: Sequence[Path], channels: Sequence[str]) -> Source:
    if len(paths) == 1:
        return Source.of(paths[0])
    parts = (Part(uri=str(p), channel=c) for p, c in zip(paths, channels, strict=True))
    return Source(parts=tuple(parts))
