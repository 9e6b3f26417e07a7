"""Cityscapes: ``leftImg8bit/<split>/<city>/`` and ``gtFine/<split>/<city>/``, labelIds read as trainIds.

Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016.
"""

from __future__ import annotations

from pathlib import Path

from segmodels.bundles.card import ClassCard
from tasks.datasets.dataset import IGNORE, Dataset, DatasetItem
from tasks.datasets.inference import infer_channels
from tasks.datasets.layouts.pairs import details_of
from tasks.datasets.manifest import DatasetFile, split_name
from tasks.errors import InputError

#: Label id, name and colour of the 19 classes that are trained, in the order of their train ids.
TRAINED = (
    (7, "road", "#804080"), (8, "sidewalk", "#f423e8"), (11, "building", "#464646"), (12, "wall", "#66669c"),
    (13, "fence", "#be9999"), (17, "pole", "#999999"), (19, "traffic light", "#faaa1e"),
    (20, "traffic sign", "#dcdc00"), (21, "vegetation", "#6b8e23"), (22, "terrain", "#98fb98"),
    (23, "sky", "#4682b4"), (24, "person", "#dc143c"), (25, "rider", "#ff0000"), (26, "car", "#00008e"),
    (27, "truck", "#000046"), (28, "bus", "#003c64"), (31, "train", "#005064"), (32, "motorcycle", "#0000e6"),
    (33, "bicycle", "#770b20"),
)  # fmt: skip
_LAST_LABEL = 33
_IMAGE = "_leftImg8bit.png"


def looks_like_cityscapes(root: Path) -> bool:
    """Whether the folder holds ``leftImg8bit``."""
    return (root / "leftImg8bit").is_dir()


def open_cityscapes(root: Path, file: DatasetFile, *, scratch: Path) -> Dataset:
    """Every image of the three splits; the test split's truth is void, as it is published.

    Raises:
        InputError: There are no images.
    """
    items, kinds = [], set()
    truths = "gtFine" if (root / "gtFine").is_dir() else "gtCoarse"
    for path in sorted((root / "leftImg8bit").glob(f"*/*/*{_IMAGE}")):
        split, city = path.parts[-3:-1]
        stem = path.name.removesuffix(_IMAGE)
        base = root / truths / split / city / f"{stem}_{truths}"
        by_label = base.with_name(f"{base.name}_labelIds.png")
        by_train = base.with_name(f"{base.name}_labelTrainIds.png")
        truth = next((p for p in (by_label, by_train) if p.is_file()), None)
        kinds.add(truth is not None and truth == by_train)
        items.append(
            DatasetItem(id=f"{split}/{city}/{stem}", images=(path,), truth=truth, split=split_name(split))
        )
    if not items:
        raise InputError(f"{root} holds no leftImg8bit/<split>/<city>/*{_IMAGE}; unpack the images there.")
    values = {-1: IGNORE} | dict.fromkeys(range(_LAST_LABEL + 1), IGNORE)
    values |= {label: train for train, (label, _, _) in enumerate(TRAINED)}
    if kinds == {True}:
        values = {255: IGNORE} | {train: train for train in range(len(TRAINED))}
    return Dataset(
        root=root,
        layout="cityscapes",
        items=tuple(items),
        classes=tuple(
            ClassCard(name=name, code=train, colour=colour) for train, (_, name, colour) in enumerate(TRAINED)
        ),
        channels=file.channel_cards() or infer_channels(items, scratch=scratch),
        values=values,
        ndim=2,
        details=details_of(file),
    )
