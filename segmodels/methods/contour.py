"""Active contour without edges: Chan and Vese's two phases, by morphology."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from segmodels.methods.base import Array, Fitted, FittedMethod, Histogram, Scope, named
from segmodels.methods.thresholds import fit_thresholds


class ChanVese(FittedMethod):
    """A contour that leaves each side as even as can be (Chan and Vese, 2001; morphological, Márquez-Neila, 2014).

    It begins at the image's own Otsu threshold, so that its inside is the bright side.

    Attributes:
        channel: Position of the channel that is looked at.
        iterations: Steps of the contour; even, because scikit-image alternates how it smooths from call to call.
        smoothing: Smoothing steps in each of them.
    """

    libraries: ClassVar[tuple[str, ...]] = ("scikit-image",)
    maps: ClassVar[int] = 40

    kind: Literal["chan_vese"] = "chan_vese"
    scope: Literal["image"] = "image"
    channel: int = Field(default=0, ge=0)
    iterations: int = Field(default=36, ge=2, multiple_of=2)
    smoothing: int = Field(default=1, ge=0)

    @property
    def reach(self) -> Scope:
        """How far it looks."""
        return self.scope

    def fit(self, channels: Sequence[Histogram], sample: npt.NDArray[np.float64]) -> Fitted:
        """See :class:`segmodels.methods.base.BaseMethod`."""
        return fit_thresholds(channels, self.channel, 2)

    def one(self, x: Array, fitted: Fitted) -> Array:
        """Names the inside."""
        from skimage.segmentation import morphological_chan_vese

        value = x[..., self.channel]
        inside = morphological_chan_vese(
            value,
            num_iter=self.iterations,
            init_level_set=(value > np.float32(fitted.thresholds[0])).astype(np.int8),
            smoothing=self.smoothing,
        )
        return named(inside.astype(np.intp), 2)
