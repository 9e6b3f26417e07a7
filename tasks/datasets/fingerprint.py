"""What a data set looks like in numbers: shapes, spacing, intensities, how frequent classes are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from tasks.datasets.dataset import Dataset
from tasks.datasets.pair import OpenPair, open_item
from tasks.datasets.splits import Part
from tasks.datasets.windows import bands_of
from tasks.errors import InputError
from tasks.planning.statistics import ChannelHistogram

#: Pixels of each channel that are looked at; of more, evenly spaced windows.
MOST_PIXELS = 300_000_000
#: Hounsfield units of air and of the densest bone: a volume that reaches below the first is CT.
_AIR, _DENSE = -500.0, 300.0

Modality = Literal["ct", "volume", "earth", "picture"]


class Intensities(BaseModel):
    """Values of one channel.

    Attributes:
        count: How many were looked at.
        mean: Their mean.
        std: Their population standard deviation.
        p0_5: The half-percent percentile.
        median: The middle one.
        p99_5: The 99.5-percent percentile.
    """

    model_config = ConfigDict(frozen=True)

    count: int
    mean: float
    std: float
    p0_5: float
    median: float
    p99_5: float


class ChannelPrint(BaseModel):
    """One channel over all items.

    Attributes:
        name: Of the channel.
        units: Of its values, where the data set says.
        dtype: Of the files.
        minimum: Lowest value.
        maximum: Highest value.
        zeros: Share of values that are exactly 0.
        all: All valid pixels.
        foreground: Pixels of every class but the first.
        varies: Spread between items: the standard deviation of their 99.5-percent percentiles over
            the mean of these; 0 for one item.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    units: str | None = None
    dtype: str
    minimum: float
    maximum: float
    zeros: float
    all: Intensities
    foreground: Intensities
    varies: float = 0.0


class Fingerprint(BaseModel):
    """The whole data set.

    Attributes:
        modality: ``ct``, another ``volume``, ``earth`` (a raster with a CRS) or ``picture``.
        ndim: Spatial axes.
        items: How many were looked at.
        pixels: Pixels (voxels) in all, looked at or not.
        median_shape: Per axis.
        smallest_shape: Per axis.
        largest_shape: Per axis.
        spacing: Median per axis (mm or m); None where items do not say.
        extent: Median length per axis (mm or m); None where items do not say.
        finest_tenth: The 10-percent percentile of the spacing per axis.
        spacing_varies: Whether any item is more than 2 % off the median.
        channels: In order.
        classes: Names in the order of their codes.
        shares: Share that each class has of all that is known: of the area or volume where items state their
            spacing, else of the pixels.
        seen: Share of the pixels that was looked at.
    """

    model_config = ConfigDict(frozen=True)

    modality: Modality
    ndim: Literal[2, 3]
    items: int
    pixels: int
    median_shape: tuple[int, ...]
    smallest_shape: tuple[int, ...]
    largest_shape: tuple[int, ...]
    spacing: tuple[float, ...] | None
    extent: tuple[float, ...] | None = None
    finest_tenth: tuple[float, ...] | None
    spacing_varies: bool
    channels: tuple[ChannelPrint, ...]
    classes: tuple[str, ...]
    shares: tuple[float, ...]
    seen: float = 1.0


class _Channel:
    """Running statistics of one channel."""

    def __init__(self, name: str, dtype: np.dtype[np.generic]) -> None:
        self.all = ChannelHistogram(name, dtype)
        self.foreground = ChannelHistogram(name, dtype)
        self.zeros = 0
        self.tops: list[float] = []

    def add(self, values: npt.NDArray[np.generic], foreground: npt.NDArray[np.bool_]) -> None:
        self.all.add(values)
        self.foreground.add(values[foreground])
        self.zeros += int(np.count_nonzero(values == 0))


def take_fingerprint(
    dataset: Dataset, parts: Sequence[Part], *, scratch: Path, most_pixels: int = MOST_PIXELS
) -> Fingerprint:
    """Reads image and truth once, window by window.

    Args:
        dataset: Where the parts belong.
        parts: What training will see (never the held-out items).
        scratch: Folder for inflated volumes.
        most_pixels: Of more pixels than this only every second, third … window is read.

    Raises:
        InputError: A file cannot be read, or its truth does not fit.
    """
    if not parts:
        raise InputError(f"{dataset.root} has no items to look at; check its splits.")
    shapes, spacings, dtypes, earth = _headers(dataset, parts, scratch)
    total = sum(math.prod(shape) for shape in shapes)
    every = max(1, math.ceil(total / most_pixels))
    dtype = dtypes[0] if len(set(dtypes)) == 1 else np.dtype(np.float32)
    names = [c.name for c in dataset.channels]
    channels = [_Channel(name, dtype) for name in names]
    codes = [card.code for card in dataset.classes]
    # of pixels of different sizes a large one counts more
    sizes = np.ones(len(parts)) if spacings is None else np.prod(spacings, axis=1)
    counts = dict.fromkeys(codes, 0.0)
    seen = 0
    for part, size in zip(parts, sizes / np.median(sizes), strict=True):
        pair = open_item(dataset, part.item, scratch=scratch)
        found: Counter[int] = Counter()
        try:
            seen += _look(pair, part, channels, found, dataset.classes[0].code, every, dtype)
        finally:
            pair.close()
        for code in codes:
            counts[code] += found[code] * float(size)
    known = sum(counts.values()) or 1.0
    prints = tuple(
        _channel_print(channel, card.units, dtype)
        for channel, card in zip(channels, dataset.channels, strict=True)
    )
    spacing = None if spacings is None else tuple(float(v) for v in np.median(spacings, axis=0))
    return Fingerprint(
        modality=guess_modality(prints, ndim=dataset.ndim, earth=earth),
        ndim=dataset.ndim,
        items=len(parts),
        pixels=total,
        median_shape=tuple(int(v) for v in np.median(shapes, axis=0)),
        smallest_shape=tuple(int(v) for v in np.min(shapes, axis=0)),
        largest_shape=tuple(int(v) for v in np.max(shapes, axis=0)),
        spacing=spacing,
        extent=None
        if spacings is None
        else tuple(float(v) for v in np.median(np.array(shapes) * spacings, axis=0)),
        finest_tenth=None
        if spacings is None
        else tuple(float(v) for v in np.percentile(spacings, 10, axis=0)),
        spacing_varies=spacings is not None
        and bool((np.abs(spacings - np.array(spacing)) > 0.02 * np.array(spacing)).any()),
        channels=prints,
        classes=tuple(card.name for card in dataset.classes),
        shares=tuple(counts[code] / known for code in codes),
        seen=seen / max(1, total),
    )


def guess_modality(channels: Sequence[ChannelPrint], *, ndim: int, earth: bool) -> Modality:
    """CT by its units, its name, or values from far below water to dense bone; the rest by its files."""
    if ndim == 2:
        return "earth" if earth else "picture"
    first = channels[0]
    named = first.units == "HU" or first.name.lower() in ("ct", "hu")
    looks = first.all.p0_5 <= _AIR and first.all.p99_5 >= 0 and first.maximum >= _DENSE
    return "ct" if len(channels) == 1 and (named or looks) else "volume"


def _headers(
    dataset: Dataset, parts: Sequence[Part], scratch: Path
) -> tuple[list[tuple[int, ...]], npt.NDArray[np.float64] | None, list[np.dtype[np.generic]], bool]:
    """Shapes (of boxes where parts have them), spacings, dtypes, and whether rasters lie on Earth."""
    shapes, spacings, dtypes, earth = [], [], [], False
    for part in parts:
        pair = open_item(dataset, part.item, scratch=scratch)
        shapes.append(pair.shape if part.box is None else tuple(s.stop - s.start for s in part.box))
        spacings.append(pair.spacing)
        dtypes.append(pair.dtype)
        grid = pair.source.grid
        earth = earth or (dataset.ndim == 2 and grid is not None and grid.crs is not None)
        pair.close()
    stated = [s for s in spacings if s is not None]
    return shapes, np.array(stated) if len(stated) == len(spacings) else None, dtypes, earth


def _look(
    pair: OpenPair,
    part: Part,
    channels: list[_Channel],
    counts: Counter[int],
    background: int,
    every: int,
    dtype: np.dtype[np.generic],
) -> int:
    box = part.box or tuple(slice(0, n) for n in pair.shape)
    inner = tuple(s.stop - s.start for s in box)
    own = [ChannelHistogram(c.all.name, dtype) for c in channels]
    limit = 32 << 20 if every == 1 else 4 << 20
    seen = 0
    for i, window in enumerate(bands_of(inner, pair.channels, pair.dtype.itemsize, limit=limit)):
        if i % every:
            continue
        moved = tuple(slice(w.start + b.start, w.stop + b.start) for w, b in zip(window, box, strict=True))
        pixels, truth = pair.read(moved)
        seen += truth.size
        for code, n in zip(*np.unique(truth, return_counts=True), strict=True):
            counts[int(code)] += int(n)
        foreground = (truth > -1) & (truth != background)
        for c, channel in enumerate(channels):
            values = pixels.values[..., c][pixels.valid].astype(dtype, copy=False)
            channel.add(values, foreground[pixels.valid])
            own[c].add(values)
    for channel, histogram in zip(channels, own, strict=True):
        if histogram.valid:
            channel.tops.append(histogram.percentile(99.5))
    return seen


def _channel_print(channel: _Channel, units: str | None, dtype: np.dtype[np.generic]) -> ChannelPrint:
    tops = np.array(channel.tops)
    mean = float(np.abs(tops).mean()) if tops.size else 0.0
    count = channel.all.valid
    return ChannelPrint(
        name=channel.all.name,
        units=units,
        dtype=dtype.name,
        minimum=channel.all.minimum if count else 0.0,
        maximum=channel.all.maximum if count else 0.0,
        zeros=channel.zeros / max(1, count),
        all=_intensities(channel.all),
        foreground=_intensities(channel.foreground),
        varies=float(tops.std() / mean) if mean > 0 else 0.0,
    )


def _intensities(histogram: ChannelHistogram) -> Intensities:
    mean, std = histogram.mean_std()
    return Intensities(
        count=histogram.valid,
        mean=mean,
        std=std,
        p0_5=histogram.percentile(0.5),
        median=histogram.percentile(50),
        p99_5=histogram.percentile(99.5),
    )
