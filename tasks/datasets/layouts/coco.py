"""COCO: ``annotations/*.json`` with polygons or run lengths, or the panoptic form with its PNGs.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; Kirillov et al., "Panoptic
Segmentation", CVPR 2019.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from tasks.datasets.dataset import IGNORE, Dataset, DatasetItem, Split
from tasks.datasets.inference import infer_channels
from tasks.datasets.layouts.pairs import details_of
from tasks.datasets.manifest import DatasetFile, inside, make_classes, read_mapping, split_name
from tasks.datasets.truths import UNKNOWN
from tasks.errors import InputError


def coco_manifests(root: Path) -> list[Path]:
    """Annotation files: in ``annotations/``, or ``_annotations.coco.json`` beside the images of a split.

    Where a split has several kinds, the panoptic one is taken, then ``instances``.
    """
    found = [*sorted((root / "annotations").glob("*.json")), *sorted(root.glob("**/_annotations.coco.json"))]
    for kind in ("panoptic_", "instances_"):
        chosen = [path for path in found if path.name.startswith(kind)]
        if chosen:
            return chosen
    return [path for path in found if not path.name.startswith(("captions_", "person_keypoints_"))]


def open_coco(root: Path, file: DatasetFile, *, scratch: Path) -> Dataset:
    """Items of every manifest; an id is the image's file name without extension, behind its split.

    Raises:
        InputError: A manifest is damaged, names files outside the root, or names other categories
            than the first one.
    """
    manifests = coco_manifests(root)
    if not manifests:
        raise InputError(f"{root} has no annotations/*.json; see docs/datasets.md for layouts.")
    items: list[DatasetItem] = []
    categories: dict[int, str] = {}
    panoptic = False
    for path in manifests:
        value = read_mapping(path)
        try:
            found = {int(c["id"]): str(c["name"]) for c in value["categories"]}
            if categories and found != categories:
                raise InputError(
                    f"{path} and {manifests[0]} name different categories; export them together."
                )
            categories = found
            panoptic = any("segments_info" in a for a in value["annotations"])
            items += (_panoptic if panoptic else _shapes)(root, path, value)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{path} is no COCO file with segmentations ({type(error).__name__}: {error}); export it again."
            ) from error
    items.sort(key=lambda item: item.id)
    ids = sorted(categories)
    first = 0 if panoptic else 1
    names = [*([] if panoptic else ["background"]), *(categories[i] for i in ids)]
    values = {i: place + first for place, i in enumerate(ids)}
    # what no shape covers is background; in the panoptic form it is void
    values |= {UNKNOWN: IGNORE} if panoptic else {0: 0}
    if not panoptic and 0 in categories:
        raise InputError(f"{manifests[0]} gives a category the id 0, which means background; count from 1.")
    return Dataset(
        root=root,
        layout="coco",
        items=tuple(items),
        classes=make_classes(names),
        channels=file.channel_cards() or infer_channels(items, scratch=scratch),
        values=values,
        ndim=2,
        details=details_of(file) | {"grey": "repeat"},
    )


def _shapes(root: Path, path: Path, value: dict[str, Any]) -> list[DatasetItem]:
    split, folder = _split_of(path), _image_folder(root, path)
    by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for annotation in value["annotations"]:
        kept = {k: annotation[k] for k in ("id", "category_id", "segmentation", "area") if k in annotation}
        by_image[annotation["image_id"]].append(kept)
    return [
        DatasetItem(
            id=_id(split, str(image["file_name"])),
            images=(inside(folder, str(image["file_name"]), named_in=path),),
            truth=path,
            split=split,
            details={"annotations": by_image.get(image["id"], [])},
        )
        for image in value["images"]
    ]


def _panoptic(root: Path, path: Path, value: dict[str, Any]) -> list[DatasetItem]:
    split, folder = _split_of(path), _image_folder(root, path)
    pngs = path.with_suffix("")
    by_image = {annotation["image_id"]: annotation for annotation in value["annotations"]}
    items = []
    for image in value["images"]:
        annotation = by_image.get(image["id"])
        segments = {} if annotation is None else annotation["segments_info"]
        items.append(
            DatasetItem(
                id=_id(split, str(image["file_name"])),
                images=(inside(folder, str(image["file_name"]), named_in=path),),
                truth=None
                if annotation is None
                else inside(pngs, str(annotation["file_name"]), named_in=path),
                split=split,
                details={"segments": {int(s["id"]): int(s["category_id"]) for s in segments}},
            )
        )
    return items


def _split_of(path: Path) -> Split | None:
    if path.name == "_annotations.coco.json":
        return split_name(path.parent.name)
    words = re.findall(r"[a-z]+", path.stem.lower())
    return next((split for word in words if (split := split_name(word)) is not None), None)


def _id(split: Split | None, name: str) -> str:
    relative = Path(name).with_suffix("").as_posix()
    return relative if split is None else f"{split}/{relative}"


def _image_folder(root: Path, path: Path) -> Path:
    """Where a manifest's images lie: ``train2017`` for ``instances_train2017.json``."""
    if path.name == "_annotations.coco.json":
        return path.parent
    last = path.stem.split("_", 1)[-1]
    names = (last, f"images/{last}", f"{last}/images", "images")
    return next((root / name for name in names if (root / name).is_dir()), root)
