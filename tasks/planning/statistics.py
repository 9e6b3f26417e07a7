"""Image-wide statistics in one streaming pass: histograms and sums that no order can change.

Integers of up to 16 bits are counted exactly. Other values are counted twice, in bins of the
float32 bit pattern cut to 11 bits of mantissa: of the value, and of its distance from a pivot
(a value near the middle of the first window). A percentile is right to 0.05 % of the value or
of that distance, whichever is less, so data far from zero (elevations, temperatures, counts
from 10⁹ on) keep their spread. Sums are taken piece by piece around the pivot, deviations around
the piece's own mean, and added exactly rounded (``math.fsum``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from tasks.compiled import compiled
from tasks.errors import InputError
from tasks.imagery.protocol import Image, ImageInfo, Pixels, Window
from tasks.imagery.views.tolerant import readable_parts

BAND_BYTES = 32 << 20
_CUT = 12  # bits of the float32 pattern below the bin
_BINS = 1 << (32 - _CUT)
#: Values at a time: what a piece needs besides is a few of these in 8 bytes each.
_PIECE = 1 << 18
_FLOAT32_MAX = float(np.finfo(np.float32).max)


@compiled(boundscheck=False)
def count_values(values: npt.NDArray[Any], base: int, counts: npt.NDArray[np.int64]) -> None:
    """Counts integers of up to 16 bits, ``(n,)``, any stride, into ``counts[value - base]``."""
    for value in values:
        counts[np.int64(value) - base] += 1


class ChannelSummary(BaseModel):
    """What ``run.json`` keeps of one channel, over the valid pixels of the whole image.

    Values are in the image's own units.
    """

    model_config = ConfigDict(frozen=True)

    channel: str
    valid: int
    minimum: float
    maximum: float
    mean: float
    std: float
    p2: float
    p98: float


class Sampling(Protocol):
    """Takes the pixels of the pass window by window."""

    def add(self, window: Window, values: npt.NDArray[Any], valid: npt.NDArray[np.bool_]) -> None: ...


@dataclass
class _Spread:
    """Values above a threshold: their number, sums and histogram around a pivot.

    Attributes:
        above: The threshold.
        pivot: A value near the middle of the first that came; a Python integer for integers.
        count: How many came.
        pieces: ``(n, mean, squares)`` of each piece: its mean distance from the pivot and the sum
            of squared deviations from that mean.
        counts: Histogram of the distances.
    """

    above: float
    pivot: int | float = 0
    count: int = 0
    pieces: list[tuple[int, float, float]] = field(default_factory=list)
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, np.int64))

    def add(self, values: npt.NDArray[Any]) -> None:
        if not self.count:
            self.pivot = np.partition(values, values.size // 2)[values.size // 2].item()
        distance = _distance(values, self.pivot)
        mean = float(distance.mean())
        np.add.at(self.counts, _bin_of(distance), 1)
        self.count += distance.size
        distance -= mean
        self.pieces.append((distance.size, mean, float(np.square(distance, out=distance).sum())))

    def mean_std(self) -> tuple[float, float]:
        if not self.count:
            return 0.0, 0.0
        mean = math.fsum(n * m for n, m, _ in self.pieces) / self.count
        squares = math.fsum(v for n, m, s in self.pieces for v in (s, n * (m - mean) ** 2))
        return float(self.pivot + mean), math.sqrt(squares / self.count)


class ChannelHistogram:
    """Histogram and sums of one channel (satisfies ``segmodels.normalise.ChannelStatistics``).

    Args:
        name: The channel.
        dtype: Of its values.
        thresholds: Values above which values are also looked at separately.
    """

    def __init__(self, name: str, dtype: np.dtype[Any], *, thresholds: tuple[float, ...] = ()) -> None:
        self.name = name
        self.exact = dtype.kind in "ui" and dtype.itemsize <= 2
        self._base = int(np.iinfo(dtype).min) if self.exact else 0
        size = int(np.iinfo(dtype).max) - self._base + 1 if self.exact else _BINS
        self.counts = np.zeros(size, np.int64)
        asked = () if self.exact else sorted({-math.inf, *thresholds})
        self._spreads = {t: _Spread(t) for t in asked}
        self.minimum, self.maximum = math.inf, -math.inf

    def add(self, values: npt.NDArray[Any]) -> None:
        """Adds valid values, any shape.

        Raises:
            OverflowError: A value beyond float32, in which models compute; names the value.
        """
        if not values.size:
            return
        if self.exact:
            count_values(values.reshape(-1), self._base, self.counts)
            held = np.flatnonzero(self.counts) + self._base
            self.minimum, self.maximum = float(held[0]), float(held[-1])
            return
        values = values.reshape(-1)
        low, high = float(values.min()), float(values.max())
        if max(-low, high) > _FLOAT32_MAX:
            raise OverflowError(f"{low if -low > high else high:g}")
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        for start in range(0, values.size, _PIECE):
            self._add(values[start : start + _PIECE])

    def _add(self, values: npt.NDArray[Any]) -> None:
        np.add.at(self.counts, _bin_of(values), 1)
        for spread in self._spreads.values():
            chosen = values[values > spread.above] if spread.above > -math.inf else values
            if chosen.size:
                spread.add(chosen)

    def histogram(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Values that occur, ascending, and how often; the middles of bins unless :attr:`exact`."""
        held = np.flatnonzero(self.counts)
        if self.exact:
            return (held + self._base).astype(np.float64), self.counts[held]
        return np.clip(_middles(held), self.minimum, self.maximum), self.counts[held]

    @property
    def valid(self) -> int:
        """Number of values."""
        return int(self.counts.sum())

    def mean_std(self, *, above: float | None = None) -> tuple[float, float]:
        """Mean and population standard deviation of values ``> above``; (0, 0) of none."""
        if not self.exact:
            return self._spread(above).mean_std()
        threshold = -math.inf if above is None else above
        value = np.arange(self.counts.size, dtype=np.int64) + self._base
        chosen = np.where(value > threshold, self.counts, 0)
        n = int(chosen.sum())
        # Python integers: the sum of squares of 10¹¹ uint16 values would overflow int64.
        first = sum(int(v) * int(c) for v, c in zip(value, chosen, strict=True) if c)
        second = sum(int(v) ** 2 * int(c) for v, c in zip(value, chosen, strict=True) if c)
        variance = (second * n - first * first) / (n * n) if n else 0.0
        return (first / n, math.sqrt(max(0.0, variance))) if n else (0.0, 0.0)

    def percentile(self, q: float, *, above: float | None = None) -> float:
        """The ``q``-th percentile of values ``> above``: nearest rank, exact for small integers."""
        if self.exact:
            return self._exact_percentile(q, above)
        spread = self._spread(above)
        if not spread.count:
            return 0.0
        rank = _rank(q, spread.count)
        near, near_width = _value_at(spread.counts, rank)
        # The values not above the threshold come first among all.
        value, width = _value_at(self.counts, self.valid - spread.count + rank)
        if near_width < width:
            value = float(spread.pivot + near)
        least = self.minimum if above is None else max(self.minimum, math.nextafter(above, math.inf))
        return min(max(value, least), self.maximum)

    def _exact_percentile(self, q: float, above: float | None) -> float:
        counts = self.counts
        if above is not None:
            counts = counts.copy()
            counts[: max(0, math.floor(above) - self._base + 1)] = 0
        total = int(counts.sum())
        if not total:
            return 0.0
        return float(np.searchsorted(np.cumsum(counts), _rank(q, total)) + self._base)

    def _spread(self, above: float | None) -> _Spread:
        try:
            return self._spreads[-math.inf if above is None else above]
        except KeyError:
            raise KeyError(f"values above {above} were not asked for when the pass began") from None

    def summary(self) -> ChannelSummary:
        """Numbers for reports."""
        mean, std = self.mean_std()
        some = self.valid > 0
        return ChannelSummary(
            channel=self.name,
            valid=self.valid,
            minimum=self.minimum if some else 0.0,
            maximum=self.maximum if some else 0.0,
            mean=mean,
            std=std,
            p2=self.percentile(2),
            p98=self.percentile(98),
        )


def _rank(q: float, total: int) -> int:
    return min(total, max(1, math.ceil(q / 100 * total)))


def _distance(values: npt.NDArray[Any], pivot: int | float) -> npt.NDArray[np.float64]:
    """``values - pivot`` as float64, subtracted before anything is rounded."""
    if values.dtype.kind in "iu" and isinstance(pivot, int):
        furthest = max(pivot - int(values.min()), int(values.max()) - pivot)
        if furthest < 1 << 63:
            # Modulo 2⁶⁴, whatever the sign: the difference itself fits.
            modular = values.astype(np.int64).view(np.uint64) - np.uint64(pivot % (1 << 64))
            return modular.view(np.int64).astype(np.float64)
    return values.astype(np.float64) - pivot


def _bin_of(values: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Order-preserving bin of float32 bit patterns."""
    with np.errstate(over="ignore", under="ignore"):
        bits = values.astype(np.float32).view(np.uint32)
    negative = bits >> 31 == 1
    ordered = np.where(negative, ~bits, bits | np.uint32(0x80000000))
    return (ordered >> _CUT).astype(np.intp)


def _value_at(counts: npt.NDArray[np.int64], rank: int) -> tuple[float, float]:
    """The middle of the bin that holds the value of this rank, and the bin's width."""
    at = int(np.searchsorted(np.cumsum(counts), rank))
    low, high = _edge(at << _CUT), _edge((at + 1 << _CUT) - 1)
    # The smallest bins beside zero hold zero itself most often.
    return (0.0 if low <= 0 <= high else (low + high) / 2), high - low


def _middles(at: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """The middles of bins, as :func:`_value_at` gives them."""
    first = at.astype(np.uint32) << np.uint32(_CUT)
    ordered = np.stack([first, first + np.uint32((1 << _CUT) - 1)])
    bits = np.where(ordered >> np.uint32(31), ordered & np.uint32(0x7FFFFFFF), ~ordered)
    low, high = bits.view(np.float32).astype(np.float64)
    return np.where((low <= 0) & (high >= 0), 0.0, (low + high) / 2)


def _edge(ordered: int) -> float:
    bits = ordered & 0x7FFFFFFF if ordered >> 31 else ~ordered & 0xFFFFFFFF
    return float(np.array(bits, np.uint32).view(np.float32))


def bands(info: ImageInfo, *, limit: int = BAND_BYTES) -> list[Window]:
    """Fixed windows of whole storage chunks in raster order; they depend on the image alone.

    A window grows along the last axis first and keeps within ``limit`` bytes, so that every
    chunk is decoded once. A chunk that is larger than that alone is cut, along its first axis first.
    """
    item = np.dtype(info.dtype).itemsize * len(info.channels)
    size = [min(max(1, c), n) for c, n in zip(info.chunk, info.shape, strict=True)]
    most = max(1, limit // item)
    for d in range(len(size)):
        parts = -(-math.prod(size) // most)
        size[d] = -(-size[d] // min(size[d], parts))
    for d in reversed(range(len(size))):
        size[d] = min(info.shape[d], size[d] * max(1, most // math.prod(size)))
        if size[d] < info.shape[d]:
            break
    return [
        tuple(slice(p, min(p + s, n)) for p, s, n in zip(start, size, info.shape, strict=True))
        for start in product(*(range(0, n, s) for s, n in zip(size, info.shape, strict=True)))
    ]


def image_statistics(
    image: Image, *, thresholds: tuple[float, ...] = (), sampler: Sampling | None = None
) -> list[ChannelHistogram]:
    """One pass over all valid pixels, which ``sampler`` sees too.

    Corrupt storage chunks are left out; the tiles that need them will be *failed*.

    Raises:
        InputError: No part of the image can be read, or it holds values beyond float32.
    """
    info = image.info
    dtype = np.dtype(info.dtype)
    channels = [ChannelHistogram(n, dtype, thresholds=thresholds) for n in info.channels]
    errors: list[InputError] = []
    read = 0
    for band in bands(info):
        for window, pixels in readable_parts(image, band, errors):
            _add_band(pixels, channels, info)
            if sampler is not None:
                sampler.add(window, pixels.values, pixels.valid)
            read += 1
    if errors and not read:
        raise errors[0]
    return channels


def _add_band(pixels: Pixels, channels: list[ChannelHistogram], info: ImageInfo) -> None:
    everything = bool(pixels.valid.all())
    for c, channel in enumerate(channels):
        values = pixels.values[..., c]
        try:
            channel.add(values if everything else values[pixels.valid])
        except OverflowError as error:
            remedy = (
                f"declare it with gdal_edit.py -a_nodata {error}"
                if info.kind == "raster"
                else "set those voxels to NaN or 0"
            )
            raise InputError(
                f"{info.source}: channel {channel.name} holds {error}, beyond float32, probably undeclared "
                f"nodata; {remedy}."
            ) from error
