"""Binary cross-entropy: one logit for one class, or one logit each for classes that may overlap."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from segmodels.losses.labels import IGNORE, PixelLoss, mean_of


@keras.saving.register_keras_serializable(package="segmodels")
class BinaryCrossEntropy(PixelLoss):
    """Sigmoid cross-entropy averaged over what is not ignored.

    Labels are ``(batch, *spatial)`` or ``(batch, *spatial, C)`` of 0, 1 or the ignore label;
    with the last axis each channel is a question of its own (multi-label).

    Args:
        positive_weight: What a pixel of label 1 counts; the sum of weights divides.
    """

    def __init__(
        self, *, positive_weight: float = 1.0, ignore: int = IGNORE, name: str = "binary_cross_entropy"
    ) -> None:
        super().__init__(ignore=ignore, name=name)
        self.positive_weight = positive_weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of one batch, a scalar.

        Raises:
            ValueError: Labels without channels for several logits.
        """
        logits = ops.cast(y_pred, "float32")
        labels = ops.cast(y_true, "int32")
        if len(labels.shape) < len(logits.shape):
            if int(logits.shape[-1]) != 1:
                raise ValueError(
                    f"binary cross-entropy of {logits.shape[-1]} logits wants labels with as many channels"
                )
            labels = labels[..., None]
        counted = ops.cast(ops.not_equal(labels, self.ignore), "float32")
        truth = ops.cast(ops.equal(labels, 1), "float32")
        losses = ops.maximum(logits, 0.0) - logits * truth + ops.log1p(ops.exp(-ops.abs(logits)))
        return mean_of(losses, counted * (1.0 + (self.positive_weight - 1.0) * truth))

    def get_config(self) -> dict[str, Any]:
        """Settings that rebuild the loss."""
        return {**super().get_config(), "positive_weight": self.positive_weight}
