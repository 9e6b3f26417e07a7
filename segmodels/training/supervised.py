"""A network joined with its loss, as Keras' own training step wants them on every backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


class Supervised(keras.Model):
    """Calls the network; any structure of its outputs goes to one loss.

    Args:
        network: The model that is trained in place.
        loss: On integer labels and all outputs.
    """

    def __init__(self, network: keras.Model, loss: Callable[[Any, Any], Any]) -> None:
        super().__init__(name="supervised")
        self.network = network
        self._criterion = loss

    def call(self, x: Any, training: bool | None = None) -> Any:
        """The network's outputs."""
        return self.network(x, training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The loss, and what layers add of their own."""
        loss = self._criterion(y, y_pred)
        for extra in self.losses:
            loss = loss + keras.ops.cast(extra, "float32")
        return loss
