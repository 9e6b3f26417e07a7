"""Edges: Sobel's gradient, which needs a pixel's neighbours, and Canny's, which follows whole edges."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from segmodels.methods.base import Array, Fitted, FittedMethod, Scope, leading, named


class Sobel(FittedMethod):
    """Edge where the Sobel gradient exceeds a level.

    A pixel needs one neighbour on each side, so tiles that share two pixels give what the whole image gives.

    Attributes:
        channel: Position of the channel that is looked at.
        level: Least gradient of an edge, in the card's normalised units per pixel.
    """

    fits: ClassVar[bool] = False
    libraries: ClassVar[tuple[str, ...]] = ("scikit-image",)
    maps: ClassVar[int] = 12

    kind: Literal["sobel"] = "sobel"
    channel: int = Field(default=0, ge=0)
    level: float = Field(default=0.4, gt=0)

    @property
    def reach(self) -> Scope:
        """How far it looks."""
        return "neighbourhood"

    @property
    def halo(self) -> int:
        """Two: each of two tiles sees one pixel beyond the line between them."""
        return 2

    def one(self, x: Array, fitted: Fitted) -> Array:
        """Distance from the level."""
        from skimage.filters import sobel

        excess = np.asarray(sobel(x[..., self.channel]), np.float32) - np.float32(self.level)
        scores = np.stack([np.zeros_like(excess), np.clip(4 * excess, -20, 20)], axis=-1)
        return leading(scores, (excess > 0).astype(np.intp))


class Canny(FittedMethod):
    """Canny's edges (1986): thin, and weak ones only where they join strong ones, however far along.

    Attributes:
        channel: Position of the channel that is looked at.
        sigma: Of the Gaussian that smooths first, pixels.
        low: Gradient of an edge that joins a strong one, in the card's normalised units.
        high: Gradient of a strong edge.
    """

    fits: ClassVar[bool] = False
    libraries: ClassVar[tuple[str, ...]] = ("scikit-image",)
    maps: ClassVar[int] = 32

    kind: Literal["canny"] = "canny"
    scope: Literal["image"] = "image"
    channel: int = Field(default=0, ge=0)
    sigma: float = Field(default=1.5, gt=0)
    low: float = Field(default=0.3, gt=0)
    high: float = Field(default=0.8, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> Canny:
        if self.low > self.high:
            raise ValueError("low must not exceed high")
        return self

    @property
    def reach(self) -> Scope:
        """How far it looks."""
        return self.scope

    def one(self, x: Array, fitted: Fitted) -> Array:
        """Names edges."""
        from skimage.feature import canny

        edges = canny(
            x[..., self.channel], sigma=self.sigma, low_threshold=self.low, high_threshold=self.high
        )
        return named(edges.astype(np.intp), 2)
