"""Normalisation: what the card asks for, made concrete once per image, applied per tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from segmodels.bundles.card import (
    Card,
    Normalise,
    NormalisePercentile,
    NormaliseScale,
    NormaliseWindow,
    NormaliseZScore,
)


class ChannelStatistics(Protocol):
    """Statistics of one channel over the valid pixels of the whole image."""

    def mean_std(self, *, above: float | None = None) -> tuple[float, float]:
        """Mean and population standard deviation of values ``> above``."""
        ...

    def percentile(self, q: float, *, above: float | None = None) -> float:
        """The ``q``-th percentile (0…100) of values ``> above``."""
        ...


@dataclass(frozen=True)
class Normaliser:
    """``(clip(x, low, high) - offset) * scale``, one number per channel each."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    offset: tuple[float, ...]
    scale: tuple[float, ...]

    def __call__(
        self, values: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_] | None = None
    ) -> npt.NDArray[np.float32]:
        """Normalises ``values`` of shape ``(*spatial, channels)``.

        Args:
            values: Any real dtype, channels last.
            valid: ``(*spatial)``; pixels that are not valid become 0 after normalisation.

        Returns:
            float32 of the same shape.
        """
        x: npt.NDArray[Any] = values.astype(self.dtype_for(values.dtype))
        if valid is not None and x.dtype == np.float64:
            x[~valid] = 0  # what was never measured may be beyond float32
        low, high, offset, scale = (
            np.asarray(n, x.dtype) for n in (self.low, self.high, self.offset, self.scale)
        )
        np.clip(x, low, high, out=x)
        x -= offset
        x *= scale
        if valid is not None:
            x[~valid] = 0
        return x.astype(np.float32, copy=False)

    @staticmethod
    def dtype_for(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
        """In what values of ``dtype`` are computed: beyond 2²⁴ float32 has no room for small differences."""
        wide = dtype.itemsize > 4 or (dtype.kind in "iu" and dtype.itemsize == 4)
        return np.float64 if wide else np.float32


def make_normaliser(card: Card, statistics: Sequence[ChannelStatistics]) -> Normaliser:
    """Freezes the card's normalisation with one image's statistics."""
    return freeze(card.normalise, statistics)


def freeze(normalise: Sequence[Normalise], statistics: Sequence[ChannelStatistics]) -> Normaliser:
    """Freezes a normalisation with the statistics of one image's channels.

    A channel without spread (constant, or empty) gets scale 1 rather than a division by zero.

    Args:
        normalise: One entry for all channels, or one per channel.
        statistics: Per channel.
    """
    kinds = list(normalise) * len(statistics) if len(normalise) == 1 else normalise
    rows = [_freeze(k, s) for k, s in zip(kinds, statistics, strict=True)]
    low, high, offset, scale = zip(*rows, strict=True)
    return Normaliser(low, high, offset, scale)


def _freeze(kind: Normalise, s: ChannelStatistics) -> tuple[float, float, float, float]:
    low, high, offset, divisor = -np.inf, np.inf, 0.0, 1.0
    if isinstance(kind, NormaliseScale):
        offset, divisor = kind.offset, kind.divisor
    elif isinstance(kind, NormaliseZScore):
        offset, divisor = s.mean_std(above=kind.foreground_above)
    elif isinstance(kind, NormaliseWindow):
        low, high = kind.low, kind.high
        offset = low if kind.offset is None else kind.offset
        divisor = high - low if kind.divisor is None else kind.divisor
    elif isinstance(kind, NormalisePercentile):
        low = s.percentile(kind.low, above=kind.foreground_above)
        high = s.percentile(kind.high, above=kind.foreground_above)
        offset, divisor = low, high - low
    return (low, high, offset, 1.0 / divisor if divisor > 0 else 1.0)
