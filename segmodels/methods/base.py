"""What every method offers, whether it looks at a pixel, at its neighbours or at the whole image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from segmodels.bundles.card import Card

Array = npt.NDArray[np.float32]
Scope = Literal["pixel", "neighbourhood", "image"]

#: Logits by which the class that a rule names leads, where it is barely named: more than any blend rounds away.
LEAD = np.float32(0.02)
#: Logits by which a class leads that a rule names without saying how surely (probability 0.88 of two).
SURE = np.float32(2.0)


class Histogram(Protocol):
    """Values of one channel over the valid pixels of the whole image."""

    def histogram(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Values that occur, ascending, and how often; of floats the middles of fine bins."""
        ...

    @property
    def exact(self) -> bool:
        """Whether the values are those of the image, not bins."""
        ...


class Fitted(BaseModel):
    """What a method takes from the whole image: found once, in the plan, and frozen there.

    Attributes:
        channel: Position of the channel that the thresholds are of.
        thresholds: Ascending.
        centres: One row per cluster, one column per channel.
        spread: Standard deviation: of that channel, or of every channel where there are centres.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channel: int = 0
    thresholds: tuple[float, ...] = ()
    centres: tuple[tuple[float, ...], ...] = ()
    spread: tuple[float, ...] = ()

    def normalised(self, offset: Sequence[float], scale: Sequence[float]) -> Fitted:
        """The same in normalised units, ``(x - offset) · scale`` per channel."""
        c = self.channel
        channels = range(len(offset)) if self.centres else (c,)
        # Rounded as pixels are, so that a pixel whose value is a threshold stays on its side of it.
        shift, factor = np.float32(offset[c]), np.float32(scale[c])
        return Fitted(
            channel=c,
            thresholds=tuple(float((np.float32(t) - shift) * factor) for t in self.thresholds),
            centres=tuple(
                tuple((v - o) * s for v, o, s in zip(row, offset, scale, strict=True)) for row in self.centres
            ),
            spread=tuple(v * scale[i] for v, i in zip(self.spread, channels, strict=True)),
        )


class BaseMethod(BaseModel):
    """A method as ``method.json`` describes it; by default one of pixels, with nothing to fit."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    #: What a fit needs besides histograms.
    needs_sample: ClassVar[bool] = False
    fits: ClassVar[bool] = False
    #: Libraries besides numpy that decide the result's bits.
    libraries: ClassVar[tuple[str, ...]] = ()
    #: float32 maps of a tile held at once, besides input and logits.
    maps: ClassVar[int] = 0

    @property
    def reach(self) -> Scope:
        """How far it looks."""
        return "pixel"

    @property
    def halo(self) -> int:
        """Pixels that neighbouring tiles must share for every pixel to see all that it looks at."""
        return 0

    def check(self, card: Card) -> None:
        """Raises ``ValueError`` if the card does not fit."""
        raise NotImplementedError

    def logits(self, x: Array) -> Array:
        """Maps ``(batch, *tile, channels)`` to ``(batch, *tile, logits)``, fitted to ``x`` itself if it fits."""
        raise NotImplementedError

    def fit(self, channels: Sequence[Histogram], sample: npt.NDArray[np.float64]) -> Fitted | None:
        """What it takes from the whole image.

        Args:
            channels: One per channel of the card, in the image's units.
            sample: ``(n, channels)`` pixels in a fixed order; empty unless ``needs_sample``.
        """
        return None

    def with_fitted(self, fitted: Fitted) -> Callable[[Array], Array]:
        """:meth:`logits` with what was fitted, in normalised units."""
        return self.logits


class FittedMethod(BaseMethod):
    """A method with something to fit, of one tile at a time."""

    fits: ClassVar[bool] = True

    def check(self, card: Card) -> None:
        """Raises ``ValueError`` if the card has too few channels or other logits."""
        channel = getattr(self, "channel", 0)
        if channel >= len(card.channels):
            raise ValueError(f"channel {channel} is not among the card's {len(card.channels)}")
        if card.activation != "softmax" or len(card.classes) != self.count:
            raise ValueError(f"a {self.name} of {self.count} classes needs a softmax card of as many")

    @property
    def count(self) -> int:
        """Classes."""
        return 2

    @property
    def name(self) -> str:
        """Its kind, for sentences."""
        return str(getattr(self, "kind", "method"))

    def one(self, x: Array, fitted: Fitted) -> Array:
        """Maps one tile ``(*tile, channels)`` to ``(*tile, logits)``."""
        raise NotImplementedError

    def with_fitted(self, fitted: Fitted) -> Callable[[Array], Array]:
        """See :class:`BaseMethod`."""
        return lambda x: np.stack([self.one(tile, fitted) for tile in x])

    def logits(self, x: Array) -> Array:
        """See :class:`BaseMethod`."""
        channels = [_Values(x[..., c]) for c in range(x.shape[-1])]
        sample = x.reshape(-1, x.shape[-1]).astype(np.float64)
        fitted = self.fit(channels, sample)
        return self.with_fitted(fitted or Fitted())(x)


class _Values:
    """The histogram of an array."""

    exact = True

    def __init__(self, values: Array) -> None:
        self._values = values

    def histogram(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        values, counts = np.unique(self._values, return_counts=True)
        return values.astype(np.float64), counts.astype(np.int64)


def leading(scores: Array, winner: npt.NDArray[np.integer]) -> Array:
    """Scores ``(*tile, classes)`` in which the winner leads even where they tie."""
    others = np.arange(scores.shape[-1]) != winner[..., np.newaxis]
    return np.asarray(scores - LEAD * others.astype(np.float32), np.float32)


def named(classes: npt.NDArray[np.integer], count: int) -> Array:
    """Logits ``(*tile, count)`` of a rule that names a class and no more."""
    return np.asarray(SURE * (np.arange(count) == classes[..., np.newaxis]), np.float32)
