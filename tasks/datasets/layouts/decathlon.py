"""Medical Segmentation Decathlon: ``imagesTr``, ``labelsTr``, pairs listed in ``dataset.json``.

Antonelli et al., "The Medical Segmentation Decathlon", Nature Communications 2022. Modalities lie
along the fourth axis of one file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.datasets.dataset import Dataset, DatasetItem
from tasks.datasets.layouts.volumes import details_of, read_channels, read_labels
from tasks.datasets.manifest import inside
from tasks.errors import InputError


def open_decathlon(root: Path, value: dict[str, Any], path: Path) -> Dataset:
    """Items of ``training`` and ``test`` (whose truth is not published).

    Args:
        root: The folder.
        value: Contents of ``dataset.json``.
        path: Its path.

    Raises:
        InputError: An entry cannot be understood or lies outside the root.
    """
    classes, values = read_labels(value, path)
    items: list[DatasetItem] = []
    for entry in value.get("training", []):
        try:
            image, label = str(entry["image"]), str(entry["label"])
        except (TypeError, KeyError) as error:
            raise InputError(f"{path}: an entry of 'training' has no image and label; correct it.") from error
        items.append(
            DatasetItem(
                id=case_of(image),
                images=(inside(root, image, named_in=path),),
                truth=inside(root, label, named_in=path),
            )
        )
    for entry in value.get("test", []):
        image = str(entry["image"] if isinstance(entry, dict) else entry)
        items.append(
            DatasetItem(
                id=case_of(image), images=(inside(root, image, named_in=path),), truth=None, split="test"
            )
        )
    if not items:
        raise InputError(f"{path} lists no 'training'; list its pairs of image and label.")
    return Dataset(
        root=root,
        layout="decathlon",
        items=tuple(sorted(items, key=lambda item: item.id)),
        classes=classes,
        channels=read_channels(value, path),
        values=values,
        ndim=3,
        details=details_of(value),
    )


def case_of(name: str) -> str:
    """``imagesTr/liver_1.nii.gz`` is case ``liver_1``."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    for ending in (".nii.gz", ".nii"):
        last = last.removesuffix(ending)
    return last
