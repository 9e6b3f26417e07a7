"""What a data set is, whatever layout it has on disk: items of image and truth, classes, splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from segmodels.bundles.card import ChannelCard, ClassCard
from tasks.imagery.protocol import Window

Split = Literal["train", "val", "test"]
Layout = Literal["pairs", "voc", "cityscapes", "coco", "geotiff", "nnunet", "decathlon", "instances"]

#: What :meth:`Pair.truth` gives where nothing is known of a pixel.
IGNORE = -1


@dataclass(frozen=True, kw_only=True)
class DatasetItem:
    """One image with its truth.

    Attributes:
        id: Its relative path without extension; unique in the data set.
        images: One file, or one file per modality or band on one grid, in channel order.
        truth: The mask (raster or volume) or the vector labels; None where the item has none.
        split: Where the data set puts it; None leaves that to the training.
        parts: Boxes of it per split, where it is no split's as a whole; an open end is the image's own.
        details: What the layout knows of this item alone (the shapes of a COCO image).
    """

    id: str
    images: tuple[Path, ...]
    truth: Path | None
    split: Split | None = None
    parts: Mapping[Split, tuple[Window, ...]] = field(default_factory=dict, hash=False, compare=False)
    details: dict[str, Any] = field(default_factory=dict, hash=False, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Items of one layout, with the classes that their truth speaks of.

    Attributes:
        root: The folder.
        layout: How it lies on disk.
        items: In the order of their ids.
        classes: With the codes that training and masks use.
        channels: As far as the layout names them.
        values: Value in the truth file → class code or :data:`IGNORE`; a value that is
            missing here is an error that ``verify`` names.
        ndim: Spatial axes of an item.
        details: What the layout's own file says besides (licence, reference), and how its truth
            is read (attribute of vector labels, width of borders).
    """

    root: Path
    layout: Layout
    items: tuple[DatasetItem, ...]
    classes: tuple[ClassCard, ...]
    channels: tuple[ChannelCard, ...]
    values: dict[int, int]
    ndim: Literal[2, 3]
    details: dict[str, Any] = field(default_factory=dict)

    def split(self, name: Split) -> tuple[DatasetItem, ...]:
        """Items that the data set puts into this split."""
        return tuple(item for item in self.items if item.split == name)


class Pair(Protocol):
    """An open item: image and truth on one grid, read by windows, never whole unless asked to.

    Axes are the image's own (``y x`` or canonical ``z y x``), channels last.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Size per spatial axis."""
        ...

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """Per spatial axis: mm for volumes, metres for a projected raster, None where unknown."""
        ...

    def image(self, window: Window) -> npt.NDArray[np.float32]:
        """``(*window, channels)`` in the units of the file."""
        ...

    def valid(self, window: Window) -> npt.NDArray[np.bool_]:
        """``(*window)``; false where any channel is nodata."""
        ...

    def truth(self, window: Window) -> npt.NDArray[np.int16]:
        """``(*window)`` class codes; :data:`IGNORE` where unknown or where the image is nodata.

        Raises:
            tasks.errors.InputError: The truth holds a value that the data set does not list.
        """
        ...

    def close(self) -> None:
        """Gives files back."""
        ...
