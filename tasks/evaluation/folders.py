"""Which mask belongs to which truth: by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.errors import InputError
from tasks.evaluation.sources import SUFFIXES
from tasks.publishing.publish import RECORD

#: A run's mask is named after its folder.
OF_A_RUN = "mask"
#: Rasters in a run's folder that are no mask.
BESIDE = ("overview", "probabilities")


@dataclass(frozen=True)
class Match:
    """One item of a folder of truth.

    Attributes:
        id: Relative path of the truth without extension.
        truth: Its file.
        mask: The mask of the same name, None if there is none.
    """

    id: str
    truth: Path
    mask: Path | None


def match_masks(masks: Path, truth: Path) -> tuple[list[Match], list[str]]:
    """Pairs a folder of masks with a folder of truth, or one file with another.

    A mask has the relative path of its truth, whatever its extension, or lies as ``mask.tif`` or
    ``mask.nii.gz`` in a folder of that name, as runs leave it.

    Returns:
        Items in the order of their ids, and masks without truth.

    Raises:
        InputError: There is nothing to compare, or two files claim one name.
    """
    for path, what in ((masks, "--masks"), (truth, "--truth")):
        if not path.exists():
            raise InputError(f"{what} {path} does not exist; check the path")
    if masks.is_file() and truth.is_file():
        return [Match(_stem(truth.name), truth, masks)], []
    for path, what in ((masks, "--masks"), (truth, "--truth")):
        if not path.is_dir():
            raise InputError(f"{what} {path} is a file but the other a folder; give two files or two folders")
    true, found = _files(truth), _files(masks)
    if not true:
        raise InputError(f"{truth} holds no mask ({', '.join(SUFFIXES)}); check --truth")
    items = [Match(id, file, found.get(id)) for id, file in sorted(true.items())]
    if not any(item.mask for item in items):
        raise InputError(
            f"no mask in {masks} has the name of one in {truth}: {min(true)} there, "
            f"{min(found) if found else 'nothing'} here; name them alike"
        )
    return items, sorted(set(found) - set(true))


def _files(folder: Path) -> dict[str, Path]:
    out: dict[str, Path] = {}
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder)
        if not file.name.lower().endswith(SUFFIXES) or any(p.startswith(".") for p in path.parts):
            continue
        name = _stem(path.name)
        if (file.parent / RECORD).is_file() and name in BESIDE:
            continue
        id = (path.parent if name == OF_A_RUN and path.parent.parts else path.with_name(name)).as_posix()
        if id in out:
            raise InputError(f"{out[id]} and {file} both stand for {id}; move one of them away")
        out[id] = file
    return out


def _stem(name: str) -> str:
    suffix = max((s for s in SUFFIXES if name.lower().endswith(s)), key=len, default="")
    return name[: len(name) - len(suffix)] if suffix else Path(name).stem
