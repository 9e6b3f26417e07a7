"""Generalised Dice (Sudre et al. 2017): classes weighed by the inverse square of their size."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from segmodels.losses.labels import IGNORE, PixelLoss


@keras.saving.register_keras_serializable(package="segmodels")
class GeneralisedDice(PixelLoss):
    """``1 - 2 Σ_c w_c Σ p t / Σ_c w_c Σ (p + t)`` with ``w_c = 1 / (Σ t)²``, sums over the batch.

    The weight of a class that the labels do not hold would be infinite; it is 0 here.
    """

    def __init__(self, *, ignore: int = IGNORE, name: str = "generalised_dice") -> None:
        super().__init__(ignore=ignore, name=name)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of one batch, a scalar."""
        target, counted, logits = self.target(y_true, y_pred)
        p = ops.softmax(logits, axis=-1) * counted[..., None]
        axes = tuple(range(len(target.shape) - 1))
        truth = ops.sum(target, axis=axes)
        present = ops.cast(truth > 0, "float32")
        # Only the ratio of weights matters; relative to the largest class they stay within float32.
        largest = ops.maximum(ops.max(truth), 1.0)
        weight = present * ops.square(largest / ops.maximum(truth, 1.0))
        both = ops.sum(weight * ops.sum(p * target, axis=axes))
        either = ops.sum(weight * (ops.sum(p, axis=axes) + truth))
        return ops.max(present) - 2.0 * both / ops.maximum(either, 1e-6)
