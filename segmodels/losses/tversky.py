"""Tversky loss (Salehi et al. 2017): Dice with a price of its own for either kind of mistake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from segmodels.losses.dice import mean_over_present
from segmodels.losses.labels import IGNORE, PixelLoss


@keras.saving.register_keras_serializable(package="segmodels")
class Tversky(PixelLoss):
    """One minus the mean over classes of ``TP / (TP + α FP + β FN)``, sums over the batch.

    ``alpha = beta = 0.5`` is Dice; a larger ``beta`` prefers finding too much to missing some.
    Classes that the labels do not hold, and those of ``skip``, are left out of the mean.
    """

    def __init__(
        self,
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
        skip: Sequence[int] = (),
        ignore: int = IGNORE,
        name: str = "tversky",
    ) -> None:
        super().__init__(ignore=ignore, name=name)
        self.alpha, self.beta, self.skip = alpha, beta, tuple(skip)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of one batch, a scalar."""
        target, counted, logits = self.target(y_true, y_pred)
        p = ops.softmax(logits, axis=-1) * counted[..., None]
        axes = tuple(range(len(target.shape) - 1))
        truth = ops.sum(target, axis=axes)
        hits = ops.sum(p * target, axis=axes)
        false = ops.sum(p, axis=axes) - hits
        index = hits / ops.maximum(hits + self.alpha * false + self.beta * (truth - hits), 1e-6)
        return mean_over_present(1.0 - index, truth, self.skip)

    def get_config(self) -> dict[str, Any]:
        """Settings that rebuild the loss."""
        return {**super().get_config(), "alpha": self.alpha, "beta": self.beta, "skip": self.skip}
