"""nnU-Net's raw layout, versions 1 and 2: one file per channel, ``<case>_0000.nii.gz`` and so on.

Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image
segmentation", Nature Methods 2021.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tasks.datasets.dataset import Dataset, DatasetItem, Split
from tasks.datasets.layouts.volumes import details_of, read_channels, read_labels
from tasks.datasets.manifest import inside
from tasks.errors import InputError


def looks_like_nnunet(root: Path, value: dict[str, Any]) -> bool:
    """Whether files carry a channel's number, or the file names channels as version 2 does."""
    if "channel_names" in value:
        return True
    folder = root / "imagesTr"
    return folder.is_dir() and any(re.search(r"_\d{4}\.nii(\.gz)?$", p.name) for p in folder.iterdir())


def open_nnunet(root: Path, value: dict[str, Any], path: Path) -> Dataset:
    """Cases of ``imagesTr`` with ``labelsTr``, and of ``imagesTs`` (with ``labelsTs`` where there is one).

    Version 2's ``dataset`` key (lists of files per case) is followed; ``splits_final.json``, whose first
    fold decides train and val, too.

    Raises:
        InputError: There are no cases, or a path lies outside the root.
    """
    classes, values = read_labels(value, path)
    ending = str(value.get("file_ending", ".nii.gz"))
    splits = _folds(root / "splits_final.json")
    items = (
        _listed(root, value["dataset"], path, splits)
        if isinstance(value.get("dataset"), dict)
        else _found(root, "Tr", ending, splits, None)
    )
    items += _found(root, "Ts", ending, splits, "test")
    if not items:
        raise InputError(f"{root} holds no imagesTr/<case>_0000{ending}; put the images there.")
    return Dataset(
        root=root,
        layout="nnunet",
        items=tuple(sorted(items, key=lambda item: item.id)),
        classes=classes,
        channels=read_channels(value, path),
        values=values,
        ndim=3 if ending in (".nii", ".nii.gz") else 2,
        details=details_of(value),
    )


def _found(
    root: Path, kind: str, ending: str, splits: dict[str, Split], split: Split | None
) -> list[DatasetItem]:
    cases: dict[str, list[Path]] = {}
    folder = root / f"images{kind}"
    for path in sorted(folder.glob(f"*{ending}")) if folder.is_dir() else []:
        match = re.fullmatch(r"(.+)_(\d{4})", path.name.removesuffix(ending))
        if match:
            cases.setdefault(match[1], []).append(path)
    items = []
    for case, paths in cases.items():
        label = root / f"labels{kind}" / f"{case}{ending}"
        items.append(
            DatasetItem(
                id=case,
                images=tuple(paths),
                truth=label if label.is_file() else None,
                split=split or splits.get(case),
            )
        )
    return items


def _listed(root: Path, cases: dict[str, Any], path: Path, splits: dict[str, Split]) -> list[DatasetItem]:
    items = []
    for case, entry in cases.items():
        try:
            images = [inside(root, str(name), named_in=path) for name in entry["images"]]
            truth = inside(root, str(entry["label"]), named_in=path)
        except (TypeError, KeyError) as error:
            raise InputError(f"{path}: case {case!r} has no images and label; correct it.") from error
        items.append(DatasetItem(id=case, images=tuple(images), truth=truth, split=splits.get(case)))
    return items


def _folds(path: Path) -> dict[str, Split]:
    if not path.is_file():
        return {}
    try:
        fold = json.loads(path.read_text(encoding="utf-8"))[0]
        train, val = list(fold["train"]), list(fold["val"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path} holds no folds with train and val; correct it.") from error
    splits: dict[str, Split] = {str(case): "train" for case in train}
    return splits | {str(case): "val" for case in val}
