"""Pascal VOC: ``JPEGImages/``, ``SegmentationClass/`` (palette PNG, 255 void), ``ImageSets/Segmentation``.

Everingham et al., "The Pascal Visual Object Classes Challenge", IJCV 2010.
"""

from __future__ import annotations

from pathlib import Path

from segmodels.bundles.card import ClassCard
from tasks.datasets.dataset import IGNORE, Dataset, DatasetItem, Split
from tasks.datasets.inference import infer_channels
from tasks.datasets.layouts.pairs import details_of
from tasks.datasets.manifest import DatasetFile, inside
from tasks.errors import InputError

NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def find_voc(root: Path) -> Path | None:
    """The folder with ``JPEGImages``: the root, or the one year below it (``VOCdevkit/VOC2012``)."""
    for folder in (root, *sorted(root.glob("*/")), *sorted(root.glob("VOCdevkit/*/"))):
        if (folder / "JPEGImages").is_dir() and (folder / "SegmentationClass").is_dir():
            return folder
    return None


def open_voc(root: Path, file: DatasetFile, *, scratch: Path) -> Dataset:
    """Items of the image sets; without them every image that has a mask, in no split.

    Raises:
        InputError: The folders are not there.
    """
    base = find_voc(root)
    if base is None:
        raise InputError(f"{root} has no JPEGImages and SegmentationClass; name the folder that holds them.")
    splits = _image_sets(base)
    if not splits:
        splits = {path.stem: None for path in sorted((base / "SegmentationClass").glob("*.png"))}
    items = []
    for id in sorted(splits):
        inside(base, f"JPEGImages/{id}", named_in=base / "ImageSets")
        image = next(
            (p for s in (".jpg", ".jpeg", ".png") if (p := base / "JPEGImages" / f"{id}{s}").is_file()),
            base / "JPEGImages" / f"{id}.jpg",
        )
        mask = base / "SegmentationClass" / f"{id}.png"
        items.append(
            DatasetItem(id=id, images=(image,), truth=mask if mask.is_file() else None, split=splits[id])
        )
    if not items:
        raise InputError(f"{base} names no image with a segmentation; fill ImageSets/Segmentation.")
    classes = file.class_cards() or tuple(
        ClassCard(name=name, code=i, colour=palette(i), region=i > 0) for i, name in enumerate(NAMES)
    )
    values = file.value_codes() or {i: i for i in range(len(NAMES))}
    return Dataset(
        root=base,
        layout="voc",
        items=tuple(items),
        classes=classes,
        channels=file.channel_cards() or infer_channels(items, scratch=scratch),
        values={255: IGNORE} | values,
        ndim=2,
        details=details_of(file),
    )


def palette(index: int) -> str:
    """VOC's colour of a class: the bits of its number dealt to red, green and blue from the top down."""
    rgb = [sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3)) for channel in range(3)]
    return "#" + "".join(f"{value:02x}" for value in rgb)


def _image_sets(base: Path) -> dict[str, Split | None]:
    """Id → split; ``trainval`` names items that neither of its parts does."""
    found: dict[str, Split | None] = {}
    names: tuple[tuple[str, Split | None], ...] = (
        ("trainval", None), ("test", "test"), ("val", "val"), ("train", "train"),
    )  # fmt: skip
    for name, split in names:
        path = base / "ImageSets" / "Segmentation" / f"{name}.txt"
        if path.is_file():
            for line in path.read_text(encoding="utf-8").split():
                found[line] = split
    return found
