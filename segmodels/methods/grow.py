"""From sure pixels outwards: region growing, watershed, random walker; all need the whole image.

Sure pixels come from the image's own three-class Otsu thresholds: dark below the lower one, bright
above the upper one; each method decides what lies between in its own way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from segmodels.bundles.card import Card
from segmodels.methods.base import Array, Fitted, FittedMethod, Histogram, Scope, named
from segmodels.methods.thresholds import fit_thresholds


class _FromSeeds(FittedMethod):
    libraries: ClassVar[tuple[str, ...]] = ("scikit-image",)
    maps: ClassVar[int] = 32

    scope: Literal["image"] = "image"
    channel: int = Field(default=0, ge=0)

    @property
    def reach(self) -> Scope:
        """How far it looks."""
        return self.scope

    def fit(self, channels: Sequence[Histogram], sample: npt.NDArray[np.float64]) -> Fitted:
        """See :class:`segmodels.methods.base.BaseMethod`."""
        return fit_thresholds(channels, self.channel, 3)

    def markers(self, value: Array, fitted: Fitted) -> npt.NDArray[np.int32]:
        """1 where surely dark, 2 where surely bright, else 0."""
        low, high = (np.float32(t) for t in fitted.thresholds)
        out = np.zeros(value.shape, np.int32)
        out[value <= low] = 1
        out[value > high] = 2
        return out


class RegionGrowing(_FromSeeds):
    """Bright regions grown from seeds.

    Without seeds of one's own, every sure bright pixel is one and its region takes all connected pixels
    above the lower threshold. With seeds, a region takes all connected pixels within ``tolerance`` of its
    seed's value.

    Attributes:
        channel: Position of the channel that is looked at.
        seeds: Pixel indices, slowest axis first, of the array as models see it.
        tolerance: In the card's normalised units.
    """

    kind: Literal["region_growing"] = "region_growing"
    seeds: tuple[tuple[int, ...], ...] = ()
    tolerance: float = Field(default=0.5, gt=0)

    def check(self, card: Card) -> None:
        """Raises ``ValueError`` if a seed has other axes than the card."""
        super().check(card)
        for seed in self.seeds:
            if len(seed) not in card.ndims:
                raise ValueError(f"seed {seed} has {len(seed)} axes, the card takes {card.ndims}")

    def one(self, x: Array, fitted: Fitted) -> Array:
        """Names what was grown."""
        from skimage.filters import apply_hysteresis_threshold
        from skimage.segmentation import flood

        value = x[..., self.channel]
        if not self.seeds:
            low, high = fitted.thresholds
            return named(apply_hysteresis_threshold(value, low, high).astype(np.intp), 2)
        grown = np.zeros(value.shape, bool)
        for seed in self.seeds:
            if len(seed) != value.ndim or any(not 0 <= i < n for i, n in zip(seed, value.shape, strict=True)):
                raise ValueError(f"seed {seed} lies outside the image {value.shape}")
            grown |= flood(value, seed, tolerance=self.tolerance)
        return named(grown.astype(np.intp), 2)


class Watershed(_FromSeeds):
    """Watershed of the Sobel gradient, flooded from sure dark and sure bright pixels.

    Attributes:
        channel: Position of the channel that is looked at.
    """

    kind: Literal["watershed"] = "watershed"

    def one(self, x: Array, fitted: Fitted) -> Array:
        """Names the basin."""
        from skimage.filters import sobel
        from skimage.segmentation import watershed

        value = x[..., self.channel]
        markers = self.markers(value, fitted)
        basins = watershed(sobel(value), markers) if markers.any() else markers
        return named((basins == 2).astype(np.intp), 2)


class RandomWalker(_FromSeeds):
    """Which seeds a random walker reaches first over the image's graph (Grady, 2006).

    Attributes:
        channel: Position of the channel that is looked at.
        beta: How much a step between unlike pixels is avoided.
    """

    libraries: ClassVar[tuple[str, ...]] = ("scikit-image", "scipy")
    maps: ClassVar[int] = 320

    kind: Literal["random_walker"] = "random_walker"
    beta: float = Field(default=130.0, gt=0)

    def one(self, x: Array, fitted: Fitted) -> Array:
        """Logits of the walker's own probabilities."""
        from skimage.segmentation import random_walker
        from threadpoolctl import threadpool_limits

        value = x[..., self.channel]
        markers = self.markers(value, fitted)
        if len(set(np.unique(markers)) - {0}) < 2 or markers.all():
            return named((markers == 2).astype(np.intp), 2)
        with threadpool_limits(1):  # sums of several threads would differ in their last bits
            probability = random_walker(
                value.astype(np.float64),
                markers,
                beta=self.beta,
                mode="cg_j",
                prob_tol=np.inf,
                return_full_prob=True,
            )
        # The solver's rest may lie a little outside 0 … 1.
        sure = np.clip(np.moveaxis(probability, 0, -1), 1e-6, 1)
        return np.log(sure).astype(np.float32)
