"""Focal loss (Lin et al. 2017): easy pixels count less."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from segmodels.losses.labels import IGNORE, PixelLoss, log_softmax, mean_of


@keras.saving.register_keras_serializable(package="segmodels")
class Focal(PixelLoss):
    """``-α_t (1 - p_t)^γ log p_t`` of the true class, averaged over the pixels that are not ignored.

    Args:
        gamma: 0 gives cross-entropy.
        alpha: One factor per class; unlike class weights they do not divide.
    """

    def __init__(
        self,
        *,
        gamma: float = 2.0,
        alpha: Sequence[float] | None = None,
        ignore: int = IGNORE,
        name: str = "focal",
    ) -> None:
        super().__init__(ignore=ignore, name=name)
        self.gamma = gamma
        self.alpha = None if alpha is None else tuple(map(float, alpha))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of one batch, a scalar."""
        target, counted, logits = self.target(y_true, y_pred)
        log_p = ops.sum(target * log_softmax(logits), axis=-1)
        # A power of exactly 0 has no derivative below exponents of 1.
        miss = ops.maximum(1.0 - ops.exp(log_p), 1e-7)
        losses = -ops.power(miss, self.gamma) * log_p
        if self.alpha is not None:
            losses = losses * ops.sum(target * ops.convert_to_tensor(self.alpha, "float32"), axis=-1)
        return mean_of(losses, counted)

    def get_config(self) -> dict[str, Any]:
        """Settings that rebuild the loss."""
        return {**super().get_config(), "gamma": self.gamma, "alpha": self.alpha}
