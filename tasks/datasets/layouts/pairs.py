"""Folders of images and masks: ``images/`` + ``masks/``, alone or under ``train/``, ``val/``, ``test/``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.datasets.dataset import Dataset, DatasetItem, Layout, Split
from tasks.datasets.inference import infer_channels, infer_values
from tasks.datasets.manifest import DatasetFile, inside, make_classes, split_name
from tasks.datasets.sources import IMAGE_SUFFIXES
from tasks.datasets.vectors import VECTOR_SUFFIXES
from tasks.errors import InputError

IMAGE_FOLDERS = ("images", "image", "img")
TRUTH_FOLDERS = ("masks", "mask", "labels", "label")


def open_folders(
    root: Path, file: DatasetFile, *, layout: Layout, scratch: Path, named_in: Path | None
) -> Dataset:
    """Images and masks matched by their relative path without extension.

    Args:
        root: The folder.
        file: What ``dataset.json`` says (empty if there is none).
        layout: ``pairs`` or ``geotiff``; they differ in nothing but their name.
        scratch: For a first look at channels and values where the file does not name them.
        named_in: The file, for error messages.

    Raises:
        InputError: There are no images, or no classes can be found.
    """
    items: list[DatasetItem] = _listed(root, file, named_in or root)
    orphans: list[Path] = []
    for prefix, split, images, masks in () if items else _places(root, file, named_in or root):
        found = list(_files(images, IMAGE_SUFFIXES))
        truths = _truths(masks, file.mask_suffix)
        used: set[str] = set()
        for relative, path in found:
            id = f"{prefix}{relative}"
            truth = truths.get(relative) or truths.get(f"{relative}_mask")
            used.update((relative, f"{relative}_mask"))
            if file.labels is not None:
                truth = inside(root, file.labels, named_in=named_in or root)
            first = id.split("/")[0] if "/" in id else ""
            place = split or file.split_of(id) or file.split_of(relative) or split_name(first)
            items.append(DatasetItem(id=id, images=(path,), truth=truth, split=place))
        orphans += [path for relative, path in truths.items() if relative not in used]
    if not items:
        raise InputError(
            f"{root} holds no images in a folder {' or '.join(IMAGE_FOLDERS)}; see docs/datasets.md for layouts."
        )
    items.sort(key=lambda item: (item.id, str(item.images[0])))
    classes, values = file.class_cards(), file.value_codes()
    if not classes:
        if any(_is_vector(item.truth) for item in items):
            classes = make_classes(["background", "foreground"])
            values = {0: 0, 1: 1}
        else:
            classes, values = infer_values([item.truth for item in items if item.truth], scratch=scratch)
    if any(_is_vector(item.truth) for item in items):
        values = {card.code: card.code for card in classes}
    channels = file.channel_cards() or infer_channels(items, scratch=scratch)
    return Dataset(
        root=root,
        layout=layout,
        items=tuple(items),
        classes=classes,
        channels=channels,
        values=values,
        ndim=3 if items[0].images[0].name.lower().endswith((".nii", ".nii.gz")) else 2,
        details=details_of(file) | {"truth_without_image": [str(path) for path in sorted(orphans)]},
    )


def details_of(file: DatasetFile) -> dict[str, Any]:
    """What the file says besides classes, channels and splits."""
    classes = file.class_cards()
    codes = file.attribute_codes() or {"background": 0, "foreground": 1, "0": 0, "1": 1}
    second = classes[1].code if len(classes) > 1 else 1
    return {
        "name": file.name,
        "description": file.description,
        "licence": file.licence,
        "reference": file.reference,
        "grey": file.grey,
        "spacing": file.spacing,
        "border": file.border,
        "layer": file.layer,
        "attribute": file.attribute,
        "attribute_codes": codes | {"": second},
        "outside": None if file.outside == "ignore" else (classes[0].code if classes else 0),
        "all_touched": file.all_touched,
    }


def _listed(root: Path, file: DatasetFile, named_in: Path) -> list[DatasetItem]:
    """The items that the file names one by one."""
    found = []
    for entry in file.items or []:
        images = tuple(inside(root, image, named_in=named_in) for image in entry.images)
        suffix = _suffix(entry.images[0], IMAGE_SUFFIXES)
        id = entry.id or entry.images[0][: len(entry.images[0]) - len(suffix)]
        found.append(
            DatasetItem(
                id=id,
                images=images,
                truth=None if entry.mask is None else inside(root, entry.mask, named_in=named_in),
                split=split_name(entry.split) if entry.split else file.split_of(id),
                parts=entry.boxes(),
            )
        )
    return found


def _places(
    root: Path, file: DatasetFile, named_in: Path
) -> Iterator[tuple[str, Split | None, Path, Path | None]]:
    """Id prefix, split, folder of images and folder of masks."""
    if file.images is not None or file.masks is not None:
        images = inside(root, file.images or "images", named_in=named_in)
        yield "", None, images, inside(root, file.masks, named_in=named_in) if file.masks else _masks(root)
        return
    alone = _images(root)
    if alone is not None:
        yield "", None, alone, _masks(root)
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        split, images_of = split_name(folder.name), _images(folder)
        if split is not None and images_of is not None:
            yield f"{folder.name}/", split, images_of, _masks(folder)


def _images(folder: Path) -> Path | None:
    return next((folder / name for name in IMAGE_FOLDERS if (folder / name).is_dir()), None)


def _masks(folder: Path) -> Path | None:
    return next((folder / name for name in TRUTH_FOLDERS if (folder / name).is_dir()), None)


def _files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Relative path without extension, and path, of the files in a folder, sorted."""
    if not folder.is_dir():
        return
    for path in sorted(folder.rglob("*")):
        suffix = _suffix(path.name, suffixes)
        if suffix and path.is_file() and not path.name.startswith("."):
            yield path.relative_to(folder).as_posix()[: -len(suffix)], path


def _suffix(name: str, suffixes: tuple[str, ...]) -> str:
    fitting = [s for s in suffixes if name.lower().endswith(s)]
    return max(fitting, key=len, default="")


def _truths(folder: Path | None, suffix: str) -> Mapping[str, Path]:
    if folder is None:
        return {}
    found = _files(folder, (*IMAGE_SUFFIXES, *VECTOR_SUFFIXES))
    return {relative.removesuffix(suffix) if suffix else relative: path for relative, path in found}


def _is_vector(path: Path | None) -> bool:
    return path is not None and path.name.lower().endswith(VECTOR_SUFFIXES)
