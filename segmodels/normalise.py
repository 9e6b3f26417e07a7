"""Normalisation: what the card asks for, made concrete once per image, applied per tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

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
        x = values.astype(np.float32)
        np.clip(x, _row(self.low), _row(self.high), out=x)
        x -= _row(self.offset)
        x *= _row(self.scale)
        if valid is not None:
            x[~valid] = 0
        return x


def _row(numbers: tuple[float, ...]) -> npt.NDArray[np.float32]:
    return np.asarray(numbers, np.float32)


def make_normaliser(card: Card, statistics: Sequence[ChannelStatistics]) -> Normaliser:
    """Freezes the card's normalisation with one image's statistics.

    A channel without spread (constant, or empty) gets scale 1 rather than a division by zero.
    """
    kinds = card.normalise * len(card.channels) if len(card.normalise) == 1 else card.normalise
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
        offset, divisor = low, high - low
    elif isinstance(kind, NormalisePercentile):
        low = s.percentile(kind.low, above=kind.foreground_above)
        high = s.percentile(kind.high, above=kind.foreground_above)
        offset, divisor = low, high - low
    return (low, high, offset, 1.0 / divisor if divisor > 0 else 1.0)
