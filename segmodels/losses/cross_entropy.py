"""Cross-entropy on integer labels, with class weights and an ignore label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from segmodels.losses.labels import IGNORE, PixelLoss, log_softmax, mean_of


@keras.saving.register_keras_serializable(package="segmodels")
class SparseCrossEntropy(PixelLoss):
    """Cross-entropy averaged over the pixels that are not ignored.

    With ``class_weights`` it is the weighted mean: each pixel counts as much as its
    class's weight, and the sum of those weights divides.
    """

    def __init__(
        self,
        *,
        class_weights: Sequence[float] | None = None,
        ignore: int = IGNORE,
        name: str = "cross_entropy",
    ) -> None:
        super().__init__(ignore=ignore, name=name)
        self.class_weights = None if class_weights is None else tuple(map(float, class_weights))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of one batch, a scalar."""
        target, counted, logits = self.target(y_true, y_pred)
        weight = counted
        if self.class_weights is not None:
            weight = weight * ops.sum(target * ops.convert_to_tensor(self.class_weights, "float32"), axis=-1)
        return mean_of(-ops.sum(target * log_softmax(logits), axis=-1), weight)

    def get_config(self) -> dict[str, Any]:
        """Settings that rebuild the loss."""
        return {**super().get_config(), "class_weights": self.class_weights}
