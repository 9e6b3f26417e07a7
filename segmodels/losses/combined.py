"""Losses added up: Dice with cross-entropy, and any others with weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from segmodels.losses.cross_entropy import SparseCrossEntropy
from segmodels.losses.dice import SoftDice
from segmodels.losses.labels import IGNORE, PixelLoss


@keras.saving.register_keras_serializable(package="segmodels")
class DiceCrossEntropy(PixelLoss):
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
        super().__init__(ignore=ignore, name=name)
        self.dice_weight = dice_weight
        self._cross_entropy = SparseCrossEntropy(class_weights=class_weights, ignore=ignore)
        self._dice = SoftDice(skip=skip, ignore=ignore)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of one batch, a scalar."""
        return self._cross_entropy.call(y_true, y_pred) + self.dice_weight * self._dice.call(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """Settings that rebuild the loss."""
        return {
            **super().get_config(),
            "class_weights": self._cross_entropy.class_weights,
            "skip": self._dice.skip,
            "dice_weight": self.dice_weight,
        }


@keras.saving.register_keras_serializable(package="segmodels")
class WeightedSum(keras.losses.Loss):
    """``Σ weight · loss``.

    Args:
        losses: At least one.
        weights: As many numbers; all 1 by default.

    Raises:
        ValueError: The numbers of losses and weights differ.
    """

    def __init__(
        self, losses: Sequence[PixelLoss], *, weights: Sequence[float] | None = None, name: str = "sum"
    ) -> None:
        super().__init__(name=name)
        self.losses = tuple(losses)
        self.weights = (1.0,) * len(self.losses) if weights is None else tuple(map(float, weights))
        if not self.losses or len(self.losses) != len(self.weights):
            raise ValueError(
                f"a sum of {len(self.losses)} losses needs as many weights, not {len(self.weights)}"
            )

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """One number; weights of samples are refused by each loss."""
        parts = zip(self.losses, self.weights, strict=True)
        return sum(weight * loss(y_true, y_pred, sample_weight) for loss, weight in parts)

    def get_config(self) -> dict[str, Any]:
        """Settings that rebuild the loss."""
        losses = [keras.saving.serialize_keras_object(loss) for loss in self.losses]
        return {"losses": losses, "weights": self.weights, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WeightedSum:
        """Rebuilds it, and the losses in it."""
        losses = [keras.saving.deserialize_keras_object(loss) for loss in config["losses"]]
        return cls(losses, weights=config["weights"], name=config["name"])
