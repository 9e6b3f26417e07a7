"""An item opened: image and truth on one grid, by windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.datasets.coco_truth import CocoTruth
from tasks.datasets.dataset import IGNORE, Dataset, DatasetItem, Pair
from tasks.datasets.sources import Source, grid_difference, open_images
from tasks.datasets.truths import UNKNOWN, InstanceTruth, MaskTruth, NoTruth, PanopticTruth, Truth
from tasks.datasets.vectors import VECTOR_SUFFIXES, VectorTruth
from tasks.errors import InputError
from tasks.imagery.protocol import Pixels, Window

_UNLISTED = -2


def open_pair(dataset: Dataset, item: DatasetItem, *, scratch: Path) -> Pair:
    """Opens an item.

    Args:
        dataset: Where it belongs.
        item: One of the data set's items.
        scratch: Folder for inflated volumes; it may be shared and kept.

    Returns:
        The pair; without truth every pixel is :data:`~tasks.datasets.dataset.IGNORE`.

    Raises:
        InputError: A file is missing or damaged, or image and truth do not lie on one grid.
    """
    return open_item(dataset, item, scratch=scratch)


def open_item(dataset: Dataset, item: DatasetItem, *, scratch: Path) -> OpenPair:
    """Like :func:`open_pair`, with what this package needs besides (:class:`OpenPair`)."""
    image = open_item_image(dataset, item, scratch=scratch)
    try:
        if dataset.channels and image.channels != len(dataset.channels):
            raise InputError(
                f"{item.images[0]} has {image.channels} channels, its data set {len(dataset.channels)}; convert it, "
                "or correct 'channels'."
            )
        truth = open_truth(dataset, item, image, scratch=scratch)
        try:
            if isinstance(truth, MaskTruth):
                problem = grid_difference(image, truth.source)
            else:
                problem = None if truth.shape == image.shape else "differ in shape"
            if problem:
                raise InputError(
                    f"{item.truth} and {item.images[0]} {problem}; export the mask on the image's grid."
                )
            return OpenPair(dataset, item, image, truth)
        except BaseException:
            truth.close()
            raise
    except BaseException:
        image.close()
        raise


def open_item_image(dataset: Dataset, item: DatasetItem, *, scratch: Path) -> Source:
    """The image alone."""
    return open_images(
        item.images,
        scratch=scratch,
        channels=len(dataset.channels) or None,
        grey_as_colour=dataset.details.get("grey") == "repeat",
    )


def open_truth(dataset: Dataset, item: DatasetItem, image: Source, *, scratch: Path) -> Truth:
    """The truth alone, in the values of its file.

    Raises:
        InputError: It cannot be read.
    """
    if item.truth is None:
        return NoTruth(image.shape)
    details = dataset.details
    if "annotations" in item.details:
        return CocoTruth(item.truth, shape=image.shape, annotations=item.details["annotations"])
    if "segments" in item.details:
        return PanopticTruth(item.truth, segments=item.details["segments"], scratch=scratch)
    if dataset.layout == "instances":
        return InstanceTruth(item.truth, scratch=scratch, border=int(details.get("border", 1)))
    if item.truth.name.lower().endswith(VECTOR_SUFFIXES):
        if not item.truth.is_file():
            raise InputError(f"{item.truth} does not exist; put the labels there or correct dataset.json.")
        return VectorTruth(
            item.truth,
            shape=image.shape,
            grid=image.grid,
            attribute=details.get("attribute"),
            codes=details["attribute_codes"],
            outside=details.get("outside"),
            layer=details.get("layer"),
            all_touched=bool(details.get("all_touched")),
        )
    return MaskTruth(item.truth, scratch=scratch, listed=dataset.values)


class Lookup:
    """Values of a truth file → class codes, by one table."""

    def __init__(self, values: dict[int, int]) -> None:
        keys = sorted(values)
        low, high = (keys[0], keys[-1]) if keys else (0, 0)
        self._values, self._low, self._high = values, low, high
        self._dense = high - low <= 1 << 20
        # one place more at either end catches everything beyond
        self._table = np.full(high - low + 3 if self._dense else 0, _UNLISTED, np.int16)
        if self._dense:
            for key in keys:
                self._table[key - low + 1] = values[key]
        self._keys = np.array(keys, np.int64)
        self._codes = np.array([values[key] for key in keys], np.int16)

    def __call__(self, raw: npt.NDArray[np.int32]) -> npt.NDArray[np.int16]:
        """Class codes; −1 where nothing is known, −2 where a value is not listed."""
        if self._dense:
            at = np.clip(raw, self._low - 1, self._high + 1)
            at -= self._low - 1
            codes = self._table[at]
        else:
            where = np.minimum(np.searchsorted(self._keys, raw), len(self._keys) - 1)
            codes = np.where(self._keys[where] == raw, self._codes[where], np.int16(_UNLISTED))
        if UNKNOWN not in self._values:
            codes[raw == UNKNOWN] = IGNORE
        return codes


class OpenPair:
    """Satisfies :class:`tasks.datasets.dataset.Pair`."""

    def __init__(self, dataset: Dataset, item: DatasetItem, image: Source, truth: Truth) -> None:
        self.item, self.source, self.truth_source = item, image, truth
        self._lookup = Lookup(dataset.values)
        declared = dataset.details.get("spacing")
        self._spacing = image.spacing or (None if declared is None else tuple(map(float, declared)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Size per spatial axis."""
        return self.source.shape

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """Per spatial axis, as the file has it, or as the data set's own file says."""
        return self._spacing

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.source.channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the file's values."""
        return self.source.dtype

    def pixels(self, window: Window) -> Pixels:
        """Values in the file's dtype, and their validity."""
        return self.source.read(window)

    def image(self, window: Window) -> npt.NDArray[np.float32]:
        return self.source.read(window).values.astype(np.float32)

    def valid(self, window: Window) -> npt.NDArray[np.bool_]:
        return self.source.read(window).valid

    def truth(self, window: Window) -> npt.NDArray[np.int16]:
        return self.read(window)[1]

    def labels(self, window: Window) -> npt.NDArray[np.int16]:
        """Truth alone, without a look at the image's nodata.

        Raises:
            InputError: The truth holds a value that the data set does not list.
        """
        raw = self.truth_source.raw(window)
        codes = self._lookup(raw)
        strange = codes == _UNLISTED
        if strange.any():
            value = int(raw[strange][0])
            raise InputError(
                f"{self.item.truth} holds the value {value}, which no class lists; run segflow data verify, then name "
                "it in dataset.json (under a class, or in 'ignore')."
            )
        return codes

    def read(self, window: Window) -> tuple[Pixels, npt.NDArray[np.int16]]:
        """Pixels and truth in one go: the image's file is read once."""
        pixels, codes = self.source.read(window), self.labels(window)
        codes[~pixels.valid] = IGNORE
        return pixels, codes

    def close(self) -> None:
        self.source.close()
        self.truth_source.close()
