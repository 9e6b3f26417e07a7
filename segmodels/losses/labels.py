"""What every loss does first: labels to one-hot, ignored pixels out, logits to float32."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

IGNORE = -1
"""Label of pixels that count for nothing."""


class PixelLoss(keras.losses.Loss):
    """A loss on integer labels that leaves out pixels with the label ``ignore``."""

    def __init__(self, *, ignore: int = IGNORE, name: str) -> None:
        super().__init__(name=name)
        self.ignore = ignore

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """One number; Keras' own would first cast the labels to floats, and logits to bfloat16 under a policy.

        Raises:
            ValueError: Weights are given: an ignore label or class weights do that here.
        """
        if sample_weight is not None:
            raise ValueError(f"{self.name} takes no sample weights; use the ignore label or class weights")
        return self.call(ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred))

    def get_config(self) -> dict[str, Any]:
        """Settings that rebuild the loss."""
        return {"ignore": self.ignore, "name": self.name}

    def target(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        """One-hot labels (zeros at ignored pixels), 1.0 where a pixel counts, float32 logits of all classes."""
        logits = class_logits(y_pred)
        labels = plain_labels(y_true, logits)
        counted = ops.cast(ops.not_equal(labels, self.ignore), "float32")
        known = ops.where(ops.equal(labels, self.ignore), ops.zeros_like(labels), labels)
        one_hot = ops.one_hot(known, int(logits.shape[-1]), dtype="float32")
        return one_hot * counted[..., None], counted, logits


def class_logits(y_pred: Any) -> Any:
    """Float32 logits with one channel per class: a single logit ``z`` becomes ``(0, z)``, whose softmax is its sigmoid."""
    logits = ops.cast(y_pred, "float32")
    if int(logits.shape[-1]) == 1:
        return ops.concatenate([ops.zeros_like(logits), logits], axis=-1)
    return logits


def plain_labels(y_true: Any, logits: Any) -> Any:
    """Labels as int32 ``(batch, *spatial)``; a last axis of one is dropped."""
    labels = ops.cast(y_true, "int32")
    return ops.squeeze(labels, axis=-1) if len(labels.shape) == len(logits.shape) else labels


def log_softmax(logits: Any) -> Any:
    """Logarithm of the softmax over the last axis, safe for logits of any size."""
    peak = ops.stop_gradient(ops.max(logits, axis=-1, keepdims=True))
    shifted = logits - peak
    return shifted - ops.log(ops.sum(ops.exp(shifted), axis=-1, keepdims=True))


def mean_of(values: Any, weights: Any) -> Any:
    """Weighted mean; 0 where nothing counts."""
    return ops.sum(values * weights) / ops.maximum(ops.sum(weights), 1e-6)
