"""Losses on logits and integer labels, for one or many classes, with an ignore label.

All take labels ``(batch, *spatial)`` of integer codes 0…C-1 (or the ignore label) and
logits ``(batch, *spatial, C)``, and give one number per batch. Only :mod:`keras.ops`, so
they run on every backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

IGNORE = 255
"""Label of pixels that count for nothing."""


@keras.saving.register_keras_serializable(package="segmodels")
class SparseCrossEntropy(keras.losses.Loss):
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
        super().__init__(name=name)
        self.class_weights = None if class_weights is None else tuple(map(float, class_weights))
        self.ignore = ignore

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of one batch, a scalar."""
        target, counted = _one_hot(y_true, y_pred, self.ignore)
        logits = ops.cast(y_pred, "float32")
        peak = ops.stop_gradient(ops.max(logits, axis=-1, keepdims=True))
        shifted = logits - peak
        log_p = shifted - ops.log(ops.sum(ops.exp(shifted), axis=-1, keepdims=True))
        weight = counted
        if self.class_weights is not None:
            weight = weight * ops.sum(target * ops.convert_to_tensor(self.class_weights, "float32"), axis=-1)
        losses = -ops.sum(target * log_p, axis=-1)
        return ops.sum(losses * weight) / ops.maximum(ops.sum(weight), 1e-6)

    def get_config(self) -> dict[str, Any]:
        """Settings that rebuild the loss."""
        return {"class_weights": self.class_weights, "ignore": self.ignore, "name": self.name}


@keras.saving.register_keras_serializable(package="segmodels")
class SoftDice(keras.losses.Loss):
    """One minus the mean over classes of ``2 Σ p t / (Σ p + Σ t)``, sums over the batch.

    A class that the batch's labels do not hold is left out of the mean: its Dice would
    be zero whatever the prediction.

    Args:
        skip: Codes that never enter the mean (a background, for example).
    """

    def __init__(self, *, skip: Sequence[int] = (), ignore: int = IGNORE, name: str = "dice") -> None:
        super().__init__(name=name)
        self.skip = tuple(skip)
        self.ignore = ignore

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of one batch, a scalar."""
        target, counted = _one_hot(y_true, y_pred, self.ignore)
        p = ops.softmax(ops.cast(y_pred, "float32"), axis=-1) * counted[..., None]
        axes = tuple(range(len(target.shape) - 1))
        truth = ops.sum(target, axis=axes)
        dice = 2.0 * ops.sum(p * target, axis=axes) / ops.maximum(ops.sum(p, axis=axes) + truth, 1e-6)
        classes = int(y_pred.shape[-1])
        used = ops.convert_to_tensor([float(c not in self.skip) for c in range(classes)], "float32")
        used = used * ops.cast(truth > 0, "float32")
        return ops.sum(used * (1.0 - dice)) / ops.maximum(ops.sum(used), 1.0)

    def get_config(self) -> dict[str, Any]:
        """Settings that rebuild the loss."""
        return {"skip": self.skip, "ignore": self.ignore, "name": self.name}


@keras.saving.register_keras_serializable(package="segmodels")
class DiceCrossEntropy(keras.losses.Loss):
    """Cross-entropy plus ``dice_weight`` times Dice."""

    def __init__(
        self,
        *,
        class_weights: Sequence[float] | None = None,
        skip: Sequence[int] = (),
        dice_weight: float = 1.0,
        ignore: int = IGNORE,
        name: str = "dice_cross_entropy",
    ) -> None:
        super().__init__(name=name)
        self.dice_weight = dice_weight
        self._cross_entropy = SparseCrossEntropy(class_weights=class_weights, ignore=ignore)
        self._dice = SoftDice(skip=skip, ignore=ignore)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of one batch, a scalar."""
        return self._cross_entropy.call(y_true, y_pred) + self.dice_weight * self._dice.call(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """Settings that rebuild the loss."""
        return {
            "class_weights": self._cross_entropy.class_weights,
            "skip": self._dice.skip,
            "dice_weight": self.dice_weight,
            "ignore": self._dice.ignore,
            "name": self.name,
        }


def _one_hot(y_true: Any, y_pred: Any, ignore: int) -> tuple[Any, Any]:
    """One-hot labels with zeros at ignored pixels, and 1.0 where a pixel counts."""
    labels = ops.cast(y_true, "int32")
    if len(labels.shape) == len(y_pred.shape):
        labels = ops.squeeze(labels, axis=-1)
    counted = ops.cast(labels != ignore, "float32")
    target = ops.one_hot(ops.where(labels == ignore, 0, labels), int(y_pred.shape[-1]), dtype="float32")
    return target * counted[..., None], counted
