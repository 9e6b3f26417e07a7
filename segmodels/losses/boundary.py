"""Boundary loss (Kervadec et al. 2019): probability weighed by the signed distance to the true border."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from segmodels.losses.labels import IGNORE, PixelLoss

_FAR = 1e9


@keras.saving.register_keras_serializable(package="segmodels")
class Boundary(PixelLoss):
    """Mean over pixels that count and classes used of ``p · φ``.

    ``φ`` of a class is the Euclidean distance to its nearest pixel outside it, and inside it one pixel
    minus the distance to the nearest pixel that is not of the class: zero on the inner border, negative
    further in. A class that an item lacks, or fills, has ``φ = 0`` there. The least value is negative,
    and alone the loss has poor minima: add it to Dice or cross-entropy with a small weight.

    The distances are exact, and computed in the graph: one minimum over parabolas per axis, which takes
    ``classes · pixels · longest side`` numbers of memory per item, fit for patches.

    Args:
        skip: Codes left out, the background as a rule.
        spacing: Size of a pixel per spatial axis, if they differ; distances are in its units.
    """

    def __init__(
        self,
        *,
        skip: Sequence[int] = (0,),
        spacing: Sequence[float] | None = None,
        ignore: int = IGNORE,
        name: str = "boundary",
    ) -> None:
        super().__init__(ignore=ignore, name=name)
        self.skip = tuple(skip)
        self.spacing = None if spacing is None else tuple(map(float, spacing))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of one batch, a scalar."""
        target, counted, logits = self.target(y_true, y_pred)
        p = ops.softmax(logits, axis=-1) * counted[..., None]
        used = [c for c in range(int(logits.shape[-1])) if c not in self.skip]
        total = 0.0
        for c in used:
            total = total + ops.sum(
                p[..., c] * ops.stop_gradient(signed_distance(target[..., c], self.spacing))
            )
        return total / ops.maximum(ops.sum(counted) * max(len(used), 1), 1e-6)

    def get_config(self) -> dict[str, Any]:
        """Settings that rebuild the loss."""
        return {**super().get_config(), "skip": self.skip, "spacing": self.spacing}


def signed_distance(inside: Any, spacing: Sequence[float] | None = None) -> Any:
    """Signed distance ``(batch, *spatial)`` of masks of 0 and 1 of that shape, negative inside."""
    axes = tuple(range(1, len(inside.shape)))
    spacing = spacing or (1.0,) * len(axes)
    outside = 1.0 - inside
    unit = min(spacing)
    to_it = ops.sqrt(_squared_distance(inside, spacing))
    to_others = ops.sqrt(_squared_distance(outside, spacing))
    both = ops.max(inside, axis=axes, keepdims=True) * ops.max(outside, axis=axes, keepdims=True)
    # Without a pixel of one kind the distances are meaningless, and huge: they must not meet a 0 as a factor.
    return ops.where(both > 0, outside * to_it - inside * (to_others - unit), ops.zeros_like(inside))


def _squared_distance(there: Any, spacing: Sequence[float]) -> Any:
    """Squared distance to the nearest pixel that is 1, one axis after the other (Felzenszwalb and Huttenlocher 2012)."""
    distance = _FAR * (1.0 - there)
    for axis, step in enumerate(spacing, start=1):
        n = int(there.shape[axis])
        place = ops.arange(n, dtype="float32") * step
        away = ops.square(place[:, None] - place[None, :])
        moved = ops.moveaxis(distance, axis, -1)
        distance = ops.moveaxis(ops.min(moved[..., None, :] + away, axis=-1), -1, axis)
    return distance
