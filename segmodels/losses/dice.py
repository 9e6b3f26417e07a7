"""Soft Dice (Milletari et al. 2016, with plain sums in the denominator)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from segmodels.losses.labels import IGNORE, PixelLoss


@keras.saving.register_keras_serializable(package="segmodels")
class SoftDice(PixelLoss):
    """One minus the mean over classes of ``2 Σ p t / (Σ p + Σ t)``, sums over the batch.

    A class that the batch's labels do not hold is left out of the mean: its Dice would
    be zero whatever the prediction.

    Args:
        skip: Codes that never enter the mean (a background, for example).
    """

    def __init__(self, *, skip: Sequence[int] = (), ignore: int = IGNORE, name: str = "dice") -> None:
        super().__init__(ignore=ignore, name=name)
        self.skip = tuple(skip)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of one batch, a scalar."""
        target, counted, logits = self.target(y_true, y_pred)
        p = ops.softmax(logits, axis=-1) * counted[..., None]
        axes = tuple(range(len(target.shape) - 1))
        truth = ops.sum(target, axis=axes)
        dice = 2.0 * ops.sum(p * target, axis=axes) / ops.maximum(ops.sum(p, axis=axes) + truth, 1e-6)
        return mean_over_present(1.0 - dice, truth, self.skip)

    def get_config(self) -> dict[str, Any]:
        """Settings that rebuild the loss."""
        return {**super().get_config(), "skip": self.skip}


def mean_over_present(values: Any, truth: Any, skip: Sequence[int]) -> Any:
    """Mean of one value per class over the classes that the labels hold and that are not skipped; else 0."""
    used = ops.convert_to_tensor([float(c not in skip) for c in range(int(values.shape[-1]))], "float32")
    used = used * ops.cast(truth > 0, "float32")
    return ops.sum(used * values) / ops.maximum(ops.sum(used), 1.0)
