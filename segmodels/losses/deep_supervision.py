"""Deep supervision: the same loss at several scales, half as much at each coarser one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from segmodels.losses.labels import plain_labels


@keras.saving.register_keras_serializable(package="segmodels")
class DeepSupervision(keras.losses.Loss):
    """Weighted mean of a loss over outputs of falling size, the finest first.

    The labels of a coarser output are those at the middle of its pixels (never averaged).

    Args:
        loss: Of one output.
        weights: One per output; by default 1, ½, ¼ …. Their sum divides.
    """

    def __init__(
        self,
        loss: keras.losses.Loss,
        *,
        weights: Sequence[float] | None = None,
        name: str = "deep_supervision",
    ) -> None:
        super().__init__(name=name)
        self.loss = loss
        self.weights = None if weights is None else tuple(map(float, weights))

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """One number for one output or a list of them.

        Raises:
            ValueError: There are not as many weights as outputs.
        """
        outputs = list(y_pred) if isinstance(y_pred, (list, tuple)) else [y_pred]
        weights = self.weights or tuple(0.5**i for i in range(len(outputs)))
        if len(weights) != len(outputs):
            raise ValueError(f"{len(outputs)} outputs need as many weights, not {len(weights)}")
        labels = plain_labels(y_true, outputs[0])
        total = 0.0
        for output, weight in zip(outputs, weights, strict=True):
            total = total + weight * self.loss(_nearest(labels, output.shape[1:-1]), output, sample_weight)
        return total / sum(weights)

    def get_config(self) -> dict[str, Any]:
        """Settings that rebuild the loss."""
        loss = keras.saving.serialize_keras_object(self.loss)
        return {"loss": loss, "weights": self.weights, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DeepSupervision:
        """Rebuilds it, and the loss in it."""
        loss = keras.saving.deserialize_keras_object(config["loss"])
        return cls(loss, weights=config["weights"], name=config["name"])


def _nearest(labels: Any, shape: Sequence[int]) -> Any:
    for axis, size in enumerate(shape, start=1):
        n = int(labels.shape[axis])
        if int(size) != n:
            middle = np.minimum(((np.arange(size) + 0.5) * n / size).astype(np.int32), n - 1)
            labels = ops.take(labels, middle, axis=axis)
    return labels
