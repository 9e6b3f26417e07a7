"""Image-wide statistics in one streaming pass: histograms and sums that no order can change.

Integers of up to 16 bits are counted exactly. Other values are counted in bins of their
float32 bit pattern cut to 11 bits of mantissa, so a percentile is right to 0.05 %; their
sums are taken per fixed band of the image and added exactly rounded (``math.fsum``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from tasks.errors import InputError
from tasks.imagery.protocol import Image, ImageInfo, Pixels, Window
from tasks.imagery.tolerant import readable_parts

BAND_BYTES = 32 << 20
_CUT = 12  # bits of the float32 pattern below the bin


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


@dataclass
class _Sums:
    """Sums of the values above a threshold."""

    above: float
    count: int = 0
    first: list[float] = field(default_factory=list)
    second: list[float] = field(default_factory=list)


class ChannelHistogram:
    """Histogram and sums of one channel (satisfies ``segmodels.normalise.ChannelStatistics``).

    Args:
        name: The channel.
        dtype: Of its values.
        thresholds: Values above which sums are kept separately, besides all values.
    """

    def __init__(self, name: str, dtype: np.dtype[Any], *, thresholds: tuple[float, ...] = ()) -> None:
        self.name = name
        self.exact = dtype.kind in "ui" and dtype.itemsize <= 2
        self._base = int(np.iinfo(dtype).min) if self.exact else 0
        size = int(np.iinfo(dtype).max) - self._base + 1 if self.exact else 1 << (32 - _CUT)
        self.counts = np.zeros(size, np.int64)
        self._sums = [_Sums(t) for t in sorted({-math.inf, *thresholds})]
        self.minimum, self.maximum = math.inf, -math.inf

    def add(self, values: npt.NDArray[Any]) -> None:
        """Adds valid values, any shape."""
        values = values.reshape(-1)
        if not values.size:
            return
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))
        if self.exact:
            bins = values.astype(np.int64) - self._base
            self.counts += np.bincount(bins, minlength=self.counts.size)
            return
        self.counts += np.bincount(_bin_of(values), minlength=self.counts.size)
        for s in self._sums:
            chosen = values[values > s.above] if s.above > -math.inf else values
            chosen = chosen.astype(np.float64)
            s.count += chosen.size
            s.first.append(float(chosen.sum()))
            s.second.append(float(np.square(chosen).sum()))

    @property
    def valid(self) -> int:
        """Number of values."""
        return int(self.counts.sum())

    def mean_std(self, *, above: float | None = None) -> tuple[float, float]:
        """Mean and population standard deviation of values ``> above``; (0, 0) of none."""
        threshold = -math.inf if above is None else above
        if self.exact:
            value = np.arange(self.counts.size, dtype=np.int64) + self._base
            chosen = np.where(value > threshold, self.counts, 0)
            n = int(chosen.sum())
            # Python integers: the sum of squares of 10¹¹ uint16 values would overflow int64.
            first = sum(int(v) * int(c) for v, c in zip(value, chosen, strict=True) if c)
            second = sum(int(v) ** 2 * int(c) for v, c in zip(value, chosen, strict=True) if c)
            variance = (second * n - first * first) / (n * n) if n else 0.0
            return (first / n, math.sqrt(max(0.0, variance))) if n else (0.0, 0.0)
        s = next((s for s in self._sums if s.above == threshold), None)
        if s is None:
            raise KeyError(f"sums above {above} were not asked for when the pass began")
        if not s.count:
            return 0.0, 0.0
        mean = math.fsum(s.first) / s.count
        return mean, math.sqrt(max(0.0, math.fsum(s.second) / s.count - mean * mean))

    def percentile(self, q: float, *, above: float | None = None) -> float:
        """The ``q``-th percentile of values ``> above``: nearest rank, exact for small integers."""
        values = self._bin_values()
        counts = self.counts
        if above is not None:
            first = math.floor(above) - self._base if self.exact else int(_bin_of(np.array([above]))[0])
            counts = counts.copy()
            counts[: max(0, first + 1)] = 0
        total = int(counts.sum())
        if not total:
            return 0.0
        rank = min(total, max(1, math.ceil(q / 100 * total)))
        at = int(np.searchsorted(np.cumsum(counts), rank))
        return float(min(max(values[at], self.minimum), self.maximum))

    def _bin_values(self) -> npt.NDArray[np.float64]:
        if self.exact:
            return np.arange(self.counts.size, dtype=np.float64) + self._base
        return _value_of(np.arange(self.counts.size, dtype=np.uint32))

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


def _bin_of(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Order-preserving bin of float32 bit patterns."""
    with np.errstate(over="ignore"):
        bits = values.astype(np.float32).view(np.uint32)
    negative = bits >> 31 == 1
    ordered = np.where(negative, ~bits, bits | np.uint32(0x80000000))
    return (ordered >> _CUT).astype(np.int64)


def _value_of(bins: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
    """Middle of each bin (of its bit patterns)."""
    ordered = (bins << np.uint32(_CUT)) | np.uint32(1 << (_CUT - 1))
    negative = ordered >> 31 == 0
    bits = np.where(negative, ~ordered, ordered & np.uint32(0x7FFFFFFF)).astype(np.uint32)
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(bits.view(np.float32).astype(np.float64), nan=0.0)


def bands(info: ImageInfo, *, limit: int = BAND_BYTES) -> list[Window]:
    """Fixed bands of whole storage chunks in raster order; they depend on the image alone."""
    item = np.dtype(info.dtype).itemsize * len(info.channels)
    cut = 1 if info.axes[0] == "t" else 0
    row = item * int(np.prod(info.shape[cut + 1 :], dtype=object))
    chunk = max(1, info.chunk[cut])
    rows = max(1, limit // max(1, row))
    rows = max(chunk, rows // chunk * chunk) if rows >= chunk or row * chunk <= 4 * limit else rows
    out: list[Window] = []
    for lead in range(info.shape[0] if cut else 1):
        head = (slice(lead, lead + 1),) if cut else ()
        for start in range(0, info.shape[cut], rows):
            stop = min(start + rows, info.shape[cut])
            out.append((*head, slice(start, stop), *(slice(0, n) for n in info.shape[cut + 1 :])))
    return out


def image_statistics(image: Image, *, thresholds: tuple[float, ...] = ()) -> list[ChannelHistogram]:
    """One pass over all valid pixels.

    Corrupt storage chunks are left out; the tiles that need them will be *failed*.

    Raises:
        InputError: No part of the image can be read.
    """
    info = image.info
    dtype = np.dtype(info.dtype)
    channels = [ChannelHistogram(n, dtype, thresholds=thresholds) for n in info.channels]
    errors: list[InputError] = []
    read = 0
    for band in bands(info):
        for _, pixels in readable_parts(image, band, errors):
            _add_band(pixels, channels)
            read += 1
    if errors and not read:
        raise errors[0]
    return channels


def _add_band(pixels: Pixels, channels: list[ChannelHistogram]) -> None:
    everything = bool(pixels.valid.all())
    for c, channel in enumerate(channels):
        values = pixels.values[..., c]
        channel.add(values if everything else values[pixels.valid])
