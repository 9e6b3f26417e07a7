"""Methods described by ``method.json``: formulas per pixel, and the classical methods.

The formulas are elementwise float32 arithmetic in a fixed order, so a pixel's logits
depend on that pixel alone: not on the tile, its neighbours or the number of threads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from segmodels.bundles.card import Card
from segmodels.errors import BundleError
from segmodels.methods.base import Array, BaseMethod
from segmodels.methods.clusters import KMeans, Slic
from segmodels.methods.contour import ChanVese
from segmodels.methods.edges import Canny, Sobel
from segmodels.methods.grow import RandomWalker, RegionGrowing, Watershed
from segmodels.methods.thresholds import Otsu


class Linear(BaseMethod):
    """Affine logits: ``logit[k] = bias[k] + Σ_c weights[k][c] · x[c]``.

    With zero weights it predicts a constant, with a unit matrix it returns its input.

    Attributes:
        weights: One row per logit, one column per channel.
        bias: One number per logit.
    """

    kind: Literal["linear"] = "linear"
    weights: tuple[tuple[float, ...], ...] = Field(min_length=1)
    bias: tuple[float, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _rectangular(self) -> Linear:
        if len(self.bias) != len(self.weights):
            raise ValueError("bias needs one number per row of weights")
        if len({len(row) for row in self.weights}) != 1:
            raise ValueError("all rows of weights need the same length")
        return self

    def check(self, card: Card) -> None:
        """Raises ``ValueError`` if the card has other numbers of channels or logits."""
        shape = (len(self.weights), len(self.weights[0]))
        if shape != (card.logits, len(card.channels)):
            raise ValueError(
                f"weights are {shape[0]}×{shape[1]}, the card wants "
                f"{card.logits} logits × {len(card.channels)} channels"
            )

    def logits(self, x: Array) -> Array:
        """Maps ``(..., channels)`` float32 to ``(..., logits)`` float32."""
        out = np.empty((*x.shape[:-1], len(self.weights)), np.float32)
        for k, (row, bias) in enumerate(zip(self.weights, self.bias, strict=True)):
            out[..., k] = bias
            for c, weight in enumerate(row):
                # A zero weight is skipped so that an infinite value elsewhere cannot leak in;
                # the sum runs in channel order, which a BLAS product would not promise.
                if weight:
                    out[..., k] += np.float32(weight) * x[..., c]
        return out


class NormalisedDifference(BaseMethod):
    """A thresholded index such as NDWI or NDVI, for two classes.

    ``index = (x[a] - x[b]) / (x[a] + x[b])``, clipped to −1…1, and 0 where the sum is 0;
    ``logit = sharpness · (index - threshold)``. The second class wins above the threshold.

    Attributes:
        a: Position of the channel that is bright in the second class.
        b: Position of the channel that is dark in the second class.
        threshold: Index at which both classes are equally likely.
        sharpness: Logits per unit of index.
    """

    kind: Literal["normalised_difference"] = "normalised_difference"
    a: int = Field(ge=0)
    b: int = Field(ge=0)
    threshold: float = 0.0
    sharpness: float = Field(default=20.0, gt=0)

    def check(self, card: Card) -> None:
        """Raises ``ValueError`` if the card lacks a channel or is not a sigmoid card."""
        if max(self.a, self.b) >= len(card.channels):
            raise ValueError(f"channel {max(self.a, self.b)} is not among the card's {len(card.channels)}")
        if card.activation != "sigmoid":
            raise ValueError("a normalised difference needs a card with activation 'sigmoid'")

    def logits(self, x: Array) -> Array:
        """Maps ``(..., channels)`` float32 to ``(..., 1)`` float32."""
        a, b = x[..., self.a], x[..., self.b]
        total = a + b
        index = np.zeros_like(total)
        np.divide(a - b, total, out=index, where=total != 0)
        np.clip(index, -1, 1, out=index)
        return ((index - np.float32(self.threshold)) * np.float32(self.sharpness))[..., None]


Method = Annotated[
    Linear
    | NormalisedDifference
    | Otsu
    | KMeans
    | Slic
    | Sobel
    | Canny
    | RegionGrowing
    | Watershed
    | RandomWalker
    | ChanVese,
    Field(discriminator="kind"),
]

_ADAPTER: TypeAdapter[BaseMethod] = TypeAdapter(Method)


def read_method(path: Path, card: Card) -> BaseMethod:
    """Reads ``method.json`` and checks it against the card.

    Raises:
        BundleError: If the file is not a method, or does not fit the card.
    """
    try:
        method = _ADAPTER.validate_json(path.read_bytes())
        method.check(card)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BundleError(f"{path} is not a valid method: {where}: {first['msg']}; correct it.") from error
    except ValueError as error:
        raise BundleError(f"{path} does not fit its card: {error}; correct one of them.") from error
    return method
