"""Lovász-softmax (Berman et al. 2018): a convex surrogate of the mean IoU itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from segmodels.losses.dice import mean_over_present
from segmodels.losses.labels import IGNORE, PixelLoss


@keras.saving.register_keras_serializable(package="segmodels")
class LovaszSoftmax(PixelLoss):
    """Mean over the classes that the batch holds of the Lovász extension of ``1 - IoU``.

    An ignored pixel gets an error of 0 and belongs to no class: sorted by error it comes last, where it
    adds nothing.
    """

    def __init__(self, *, skip: Sequence[int] = (), ignore: int = IGNORE, name: str = "lovasz") -> None:
        super().__init__(ignore=ignore, name=name)
        self.skip = tuple(skip)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of one batch, a scalar."""
        target, counted, logits = self.target(y_true, y_pred)
        classes = int(logits.shape[-1])
        p = ops.softmax(logits, axis=-1)
        errors = ops.abs(target - p) * counted[..., None]
        errors = ops.transpose(ops.reshape(errors, (-1, classes)))
        mine = ops.transpose(ops.reshape(target, (-1, classes)))
        order = ops.argsort(ops.stop_gradient(-errors), axis=-1)
        errors = ops.take_along_axis(errors, order, axis=-1)
        mine = ops.take_along_axis(mine, order, axis=-1)
        truth = ops.sum(mine, axis=-1)
        both = truth[:, None] - ops.cumsum(mine, axis=-1)
        either = truth[:, None] + ops.cumsum(1.0 - mine, axis=-1)
        jaccard = 1.0 - both / either
        steps = ops.concatenate([jaccard[:, :1], jaccard[:, 1:] - jaccard[:, :-1]], axis=-1)
        return mean_over_present(ops.sum(errors * ops.stop_gradient(steps), axis=-1), truth, self.skip)

    def get_config(self) -> dict[str, Any]:
        """Settings that rebuild the loss."""
        return {**super().get_config(), "skip": self.skip}
