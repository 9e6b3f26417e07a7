"""``image/`` + ``instance/`` (+ ``index.json``): instance masks read as background, nucleus and border.

The rule is :class:`tasks.datasets.truths.InstanceTruth`: inside and border together are exactly
the instances.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tasks.datasets.dataset import Dataset, DatasetItem
from tasks.datasets.inference import infer_channels
from tasks.datasets.layouts.pairs import details_of
from tasks.datasets.manifest import DatasetFile, inside, make_classes, split_name
from tasks.datasets.sources import IMAGE_SUFFIXES
from tasks.errors import InputError

_IMAGES, _INSTANCES = ("image", "images"), ("instance", "instances", "masks")


def looks_like_instances(root: Path) -> bool:
    """Whether the folder has instance masks by name."""
    return any((root / name).is_dir() for name in _INSTANCES[:2]) and any(
        (root / name).is_dir() for name in _IMAGES
    )


def open_instances(root: Path, file: DatasetFile, *, scratch: Path, named_in: Path | None) -> Dataset:
    """Items from ``index.json`` (``id`` and ``split`` each), or from the folder of images.

    Grey pictures are read as colour where others have colour.
    """
    images = _folder(root, _IMAGES)
    instances = _folder(root, _INSTANCES)
    index = root / "index.json"
    rows = _index(index) if index.is_file() else [{"id": _stem(p)} for p in _pictures(images)]
    items = []
    for row in rows:
        id = str(row["id"])
        inside(root, f"{images.name}/{id}", named_in=index)
        split = split_name(str(row.get("split", ""))) or file.split_of(id)
        image, truth = _find(images, id), _find(instances, id)
        items.append(
            DatasetItem(
                id=id,
                images=(image or images / f"{id}.png",),
                truth=truth or (instances / f"{id}.png" if index.is_file() else None),
                split=split,
                details={k: v for k, v in row.items() if k not in ("id", "split")},
            )
        )
    items.sort(key=lambda item: item.id)
    if not items:
        raise InputError(f"{images} holds no images; put them there.")
    classes = file.class_cards() or make_classes(["background", "nucleus", "border"])
    if len(classes) != 3:
        raise InputError(
            f"{named_in}: layout 'instances' has three classes (background, inside, border), not {len(classes)}."
        )
    return Dataset(
        root=root,
        layout="instances",
        items=tuple(items),
        classes=classes,
        channels=file.channel_cards() or _widest(items, scratch),
        values={i: card.code for i, card in enumerate(classes)},
        ndim=2,
        details=details_of(file) | {"grey": "repeat"},
    )


def _widest(items: list[DatasetItem], scratch: Path) -> Any:
    """Channels of the widest image: colour if any picture has colour."""
    return max(
        (infer_channels([item], scratch=scratch) for item in items if item.images[0].is_file()),
        key=len,
        default=(),
    )


def _folder(root: Path, names: tuple[str, ...]) -> Path:
    found = next((root / name for name in names if (root / name).is_dir()), None)
    if found is None:
        raise InputError(f"{root} has no folder {' or '.join(names)}; see docs/datasets.md for layouts.")
    return found


def _pictures(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.iterdir()) if p.name.lower().endswith(IMAGE_SUFFIXES)]


def _stem(path: Path) -> str:
    return path.name[: -len(max((s for s in IMAGE_SUFFIXES if path.name.lower().endswith(s)), key=len))]


def _find(folder: Path, id: str) -> Path | None:
    return next((p for s in (".png", ".tif", ".tiff", ".jpg") if (p := folder / f"{id}{s}").is_file()), None)


def _index(path: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); correct it.") from error
    if not isinstance(rows, list) or any(not isinstance(row, dict) or "id" not in row for row in rows):
        raise InputError(f"{path} must be a list of objects with an id each; correct it.")
    return rows
