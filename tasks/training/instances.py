"""A folder of images with instance masks, learned as classes: background, object, and its border.

``image/ID.png``, ``instance/ID.png`` (0 is background, every other number one object) and, where there is
one, ``index.json``: a list of objects with ``id`` and optionally ``split`` and ``kind``. Small images, read
whole.

The border lies *inside* an object: its pixels nearer than ``border`` to a pixel of anything else. So the two
classes together are exactly the pixels of objects, and touching objects are told apart by the borders
between them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segmodels.bundles.card import ChannelCard, ClassCard
from tasks.datasets.dataset import Dataset, DatasetItem
from tasks.errors import InputError
from tasks.imagery.protocol import Window

BACKGROUND, OBJECT, BORDER = 0, 1, 2
_SPLITS = ("train", "val", "test")


def open_instances(root: Path) -> Dataset:
    """Lists the folder; ``details["kinds"]`` says the kind of each item that the index names one for.

    Raises:
        InputError: Folders are missing or empty, an image has no mask, or the index is broken.
    """
    images = sorted((root / "image").glob("*.png"))
    if not images:
        raise InputError(f"{root} holds no image/*.png; give a folder with image/ and instance/ in it")
    index = _index(root / "index.json")
    items, kinds = [], {}
    for image in images:
        truth = root / "instance" / image.name
        if not truth.is_file():
            raise InputError(f"{image} has no mask {truth}; add it or remove the image")
        entry = index.get(image.stem, {})
        if entry.get("split") not in (None, *_SPLITS):
            raise InputError(
                f"{root / 'index.json'}: {image.stem} has the split {entry['split']!r}, not train, val or test"
            )
        items.append(DatasetItem(id=image.stem, images=(image,), truth=truth, split=entry.get("split")))
        if "kind" in entry:
            kinds[image.stem] = str(entry["kind"])
    return Dataset(
        root=root,
        layout="pairs",
        items=tuple(items),
        classes=(
            ClassCard(name="background", code=BACKGROUND, colour="#101418", region=False),
            ClassCard(name="nucleus", code=OBJECT, colour="#4cc9f0"),
            ClassCard(name="border", code=BORDER, colour="#f72585", region=False),
        ),
        channels=tuple(ChannelCard(name=n, units="1") for n in ("red", "green", "blue")),
        values={},
        ndim=2,
        details={"kinds": kinds},
    )


def verify_instances(dataset: Dataset) -> list[str]:
    """What is wrong, one sentence each, naming the file; empty if nothing is."""
    errors = []
    for item in dataset.items:
        assert item.truth is not None
        try:
            image, instance = _read_image(item.images[0]), _read_png(item.truth)
        except InputError as error:
            errors.append(str(error))
            continue
        if instance.ndim != 2 or instance.shape != image.shape[:2]:
            errors.append(f"{item.truth} has shape {instance.shape}, its image {image.shape[:2]}")
        elif not instance.any():
            errors.append(f"{item.truth} marks no object at all")
        elif set(np.unique(instance)) == {0, 255}:
            errors.append(f"{item.truth} holds 0 and 255 only: a mask of one class, not of instances")
    return errors


class InstancePair:
    """An item in memory, as :class:`tasks.datasets.dataset.Pair`.

    Args:
        item: Of :func:`open_instances`.
        border: Width of the border in pixels; 0 leaves it out.
    """

    spacing = None

    def __init__(self, item: DatasetItem, *, border: int) -> None:
        assert item.truth is not None
        self._image = _read_image(item.images[0])
        self._truth = border_classes(_read_png(item.truth), border=border)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._truth.shape

    def image(self, window: Window) -> npt.NDArray[np.float32]:
        return self._image[tuple(window)].astype(np.float32)

    def valid(self, window: Window) -> npt.NDArray[np.bool_]:
        return np.ones(self._truth[tuple(window)].shape, bool)

    def truth(self, window: Window) -> npt.NDArray[np.int16]:
        return self._truth[tuple(window)]

    def close(self) -> None: ...


def border_classes(instance: npt.NDArray[Any], *, border: int) -> npt.NDArray[np.int16]:
    """Classes from instance numbers ``(y, x)``: background, object, and the inner border of each object."""
    from scipy import ndimage

    classes = (instance > 0).astype(np.int16)
    if border < 1:
        return classes
    size = 2 * border + 1
    disk = np.hypot(*np.mgrid[-border : border + 1, -border : border + 1]) <= border + 0.5
    numbers = instance.astype(np.int64)
    assert disk.shape == (size, size)
    low = ndimage.minimum_filter(numbers, footprint=disk, mode="nearest")
    high = ndimage.maximum_filter(numbers, footprint=disk, mode="nearest")
    classes[(classes == OBJECT) & (low != high)] = BORDER
    return classes


def _index(path: Path) -> Mapping[str, dict[str, Any]]:
    if not path.exists():
        return {}
    try:
        return {str(entry["id"]): dict(entry) for entry in json.loads(path.read_text(encoding="utf-8"))}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is no list of objects with an id ({error}); correct or remove it"
        ) from error


def _read_image(path: Path) -> npt.NDArray[Any]:
    """``(y, x, 3)``: grey levels three times, transparency dropped."""
    values = _read_png(path)
    if values.ndim == 2:
        return np.repeat(values[..., None], 3, axis=-1)
    return values[..., :3] if values.shape[-1] >= 3 else np.repeat(values[..., :1], 3, axis=-1)


def _read_png(path: Path) -> npt.NDArray[Any]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.asarray(
                image.convert("RGB") if image.mode == "P" and path.parent.name == "image" else image
            )
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{path} cannot be read ({error}); replace it") from error
