"""An item read at another spacing: what training, its statistics and its scores see of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segmodels.normalise import Normaliser
from tasks.datasets.dataset import IGNORE, Dataset, DatasetItem
from tasks.datasets.pair import OpenPair, open_item
from tasks.imagery.protocol import Pixels, Window
from tasks.resampling.geometry import (
    Steps,
    lattice_box,
    lattice_shape,
    nearest,
    resample,
    source_window,
    steps_to,
)


class LatticePair:
    """An open item on the lattice of another spacing (satisfies :class:`tasks.datasets.dataset.Pair`).

    Images are sampled linearly from valid pixels, truth from the nearest.

    Args:
        pair: The item as it is; closed with this.
        steps: Its pixels per pixel of the lattice, per axis.
    """

    def __init__(self, pair: OpenPair, steps: Steps) -> None:
        self.native, self.steps, self.item = pair, steps, pair.item
        self.channels = pair.channels
        self.dtype: np.dtype[Any] = np.dtype(Normaliser.dtype_for(pair.dtype))
        self.shape = lattice_shape(pair.shape, steps)

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """Of the lattice, per spatial axis."""
        have = self.native.spacing
        return None if have is None else tuple(h * s for h, s in zip(have, self.steps, strict=True))

    def pixels(self, window: Window) -> Pixels:
        """Values in float32 (float64 where the file's need it), and their validity."""
        source = source_window(window, self.native.shape, self.steps)
        return self._pixels(self.native.pixels(source), window, source)

    def image(self, window: Window) -> npt.NDArray[np.float32]:
        return self.pixels(window).values.astype(np.float32, copy=False)

    def valid(self, window: Window) -> npt.NDArray[np.bool_]:
        return self.pixels(window).valid

    def truth(self, window: Window) -> npt.NDArray[np.int16]:
        return self.read(window)[1]

    def read(self, window: Window) -> tuple[Pixels, npt.NDArray[np.int16]]:
        """Pixels and truth in one go."""
        source = source_window(window, self.native.shape, self.steps)
        pixels, labels = self.native.pixels(source), self.native.labels(source)
        found = self._pixels(pixels, window, source)
        codes = nearest(labels, window, self.native.shape, self.steps, source).astype(np.int16)
        codes[~found.valid] = IGNORE
        return found, codes

    def close(self) -> None:
        self.native.close()

    def _pixels(self, pixels: Pixels, window: Window, source: Window) -> Pixels:
        kind = Normaliser.dtype_for(self.native.dtype)
        return resample(pixels, window, self.native.shape, self.steps, source, dtype=kind)


Opened = OpenPair | LatticePair


def at_spacing(pair: OpenPair, spacing: Sequence[float] | None) -> Opened:
    """The item at a spacing (mm or m per axis); as it is where it has that, or says none.

    Args:
        pair: Closed with what comes back.
        spacing: Of fewer axes than the item for its last ones; None takes pixels as they are.
    """
    steps = steps_to(pair.spacing, spacing, ndim=len(pair.shape))
    return pair if all(s == 1 for s in steps) else LatticePair(pair, steps)


def open_at(dataset: Dataset, item: DatasetItem, *, spacing: Sequence[float] | None, scratch: Path) -> Opened:
    """Opens an item at a spacing.

    Raises:
        InputError: As :func:`tasks.datasets.pair.open_pair` does.
    """
    return at_spacing(open_item(dataset, item, scratch=scratch), spacing)


def window_of(pair: Opened, box: Window | None) -> Window:
    """A box of an item's own pixels in those of the open item; None is the whole item."""
    if box is None:
        return tuple(slice(0, n) for n in pair.shape)
    return lattice_box(box, pair.native.shape, pair.steps) if isinstance(pair, LatticePair) else box


def bytes_per_value(pair: Opened) -> int:
    """Bytes that are read for one value, for windows of bounded size."""
    if isinstance(pair, LatticePair):
        return math.ceil(pair.dtype.itemsize * max(1.0, math.prod(pair.steps)))
    return pair.dtype.itemsize
