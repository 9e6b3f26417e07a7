"""``derivatives/segflow``: masks of BIDS-named volumes as a BIDS-derivatives data set.

The masks are the items' own files under a second name (hard links, or copies where a disk has none). An item
whose input has no BIDS name is left out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tasks.catalogue.items import published
from tasks.errors import InputError
from tasks.files import atomic_write, writing

FOLDER = Path("derivatives", "segflow")
BIDS_VERSION = "1.10.0"
#: Entities that a discrete segmentation keeps of its input, in the order of the standard.
_ENTITIES = (
    "sub", "ses", "sample", "task", "tracksys", "acq", "nuc", "voi", "ce", "trc", "stain", "rec", "dir", "run",
    "mod", "echo", "flip", "inv", "mt", "part", "proc", "hemi",
)  # fmt: skip
_DATATYPES = ("anat", "func", "dwi", "perf", "pet", "fmap")
_NAME = re.compile(r"((?:[a-z]+-[A-Za-z0-9]+_)+)([A-Za-z0-9]+)\.nii(?:\.gz)?")


@dataclass(frozen=True)
class BidsName:
    """What a BIDS file name says.

    Attributes:
        entities: By key, ``sub`` among them.
        suffix: ``T1w``.
        datatype: ``anat``.
    """

    entities: dict[str, str]
    suffix: str
    datatype: str

    @property
    def folder(self) -> Path:
        """Where its derivatives lie."""
        session = [f"ses-{self.entities['ses']}"] if "ses" in self.entities else []
        return Path(f"sub-{self.entities['sub']}", *session, self.datatype)

    @property
    def mask(self) -> str:
        """Name of its mask, without extension."""
        kept = [f"{k}-{self.entities[k]}" for k in _ENTITIES if k in self.entities]
        return "_".join([*kept, "space-orig", f"desc-segflow{self.suffix}", "dseg"])


def parse_name(path: Path) -> BidsName | None:
    """A BIDS file name with a subject; None for any other.

    Example:
        >>> parse_name(Path("sub-01_T1w.nii.gz")).mask
        'sub-01_space-orig_desc-segflowT1w_dseg'
    """
    found = _NAME.fullmatch(path.name)
    if found is None:
        return None
    entities = dict(part.split("-", 1) for part in found[1].rstrip("_").split("_"))
    datatype = path.parent.name if path.parent.name in _DATATYPES else "anat"
    return BidsName(entities, found[2], datatype) if "sub" in entities else None


def write_derivatives(out: Path) -> int:
    """Makes or completes ``out/derivatives/segflow``.

    Args:
        out: An output folder.

    Returns:
        Masks in it.

    Raises:
        InputError: No item below it has a mask of a BIDS-named volume, or two have one name.
        OutputError: It cannot be written.
    """
    root = out / FOLDER
    taken: dict[Path, Path] = {}
    raw: Path | None = None
    for folder, record in published(out):
        source = Path(record["input"]["path"].split(" + ")[0])
        name, mask = parse_name(source), folder / "mask.nii.gz"
        if name is None or not mask.is_file():
            continue
        target = root / name.folder / f"{name.mask}.nii.gz"
        if target in taken:
            raise InputError(
                f"{folder} and {taken[target]} are masks of one BIDS name, {name.mask}: remove one"
            )
        taken[target] = folder
        raw = raw or _data_set(source, name)
        _put(mask, target)
        _put(folder / "mask.tsv", target.with_name(f"{name.mask}.tsv"))
        sidecar = _sidecar(json.loads((folder / "mask.json").read_bytes()), name, source)
        _write_json(target.with_name(f"{name.mask}.json"), sidecar)
    if not taken:
        raise InputError(
            f"{out} holds no mask of a volume with a BIDS name (as sub-01_T1w.nii.gz): nothing can be derived"
        )
    _write_json(root / "dataset_description.json", _description(root, raw))
    with atomic_write(root / "README.md") as stream:
        stream.write(b"Segmentations by segflow: every dseg.tsv names the labels of the mask beside it.\n")
    return len(taken)


def _data_set(source: Path, name: BidsName) -> Path | None:
    """The root of the data set that an input lies in."""
    folder = next((p for p in source.parents if p.name == f"sub-{name.entities['sub']}"), None)
    return None if folder is None else folder.parent


def _put(source: Path, target: Path) -> None:
    """Gives a file a second name, in place of what held it."""
    part = target.with_name(f".{target.name}.part")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)
        part.replace(target)


def _sidecar(own: dict[str, Any], name: BidsName, source: Path) -> dict[str, Any]:
    return {
        **{k: v for k, v in own.items() if k not in ("Type", "LabelTable")},
        "Sources": [f"bids:raw:{(name.folder / source.name).as_posix()}"],
    }


def _description(root: Path, raw: Path | None) -> dict[str, Any]:
    links = {} if raw is None else {"DatasetLinks": {"raw": os.path.relpath(raw, root.resolve())}}
    return {
        "Name": "segflow segmentations",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "segflow", "Version": version("segflow")}],
        **links,
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as stream:
        stream.write((json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())
