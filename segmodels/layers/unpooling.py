"""Maximum pooling that remembers where each maximum was, and unpooling that puts it back there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="segmodels")
class MaxPoolingWithIndices(keras.layers.Layer):
    """2 × 2 maximum pooling, and the place of each maximum in its window, 0…3 row by row.

    Of equal maxima the first counts. The height and the width must be even.
    """

    def call(self, x: Any) -> tuple[Any, Any]:
        """``(batch, h, w, channels)`` → maxima and places, both ``(batch, h / 2, w / 2, channels)``."""
        a, b, c, d = (x[:, i::2, j::2] for i in (0, 1) for j in (0, 1))
        top = ops.maximum(ops.maximum(a, b), ops.maximum(c, d))
        # Comparisons, since an argmax does not convert for OpenVINO.
        place = ops.where(ops.equal(c, top), 2, 3)
        place = ops.where(ops.equal(a, top), 0, ops.where(ops.equal(b, top), 1, place))
        return top, ops.cast(place, x.dtype)

    def compute_output_shape(self, input_shape: Shape) -> tuple[Shape, Shape]:
        """Two halves."""
        batch, *spatial, channels = input_shape
        half = (batch, *(None if n is None else n // 2 for n in spatial), channels)
        return half, half


@keras.saving.register_keras_serializable(package="segmodels")
class MaxUnpooling(keras.layers.Layer):
    """Puts each value where its maximum was, and zeros everywhere else: exactly, with no arithmetic on it."""

    def call(self, inputs: Sequence[Any]) -> Any:
        """``[x, places]``, ``(batch, h, w, channels)`` → ``(batch, 2 h, 2 w, channels)``."""
        x, places = inputs
        places = ops.cast(places, "int32")
        zero = ops.zeros_like(x)
        cells = [ops.where(ops.equal(places, i), x, zero) for i in range(4)]
        rows = [_interleave(cells[i], cells[i + 1], axis=2) for i in (0, 2)]
        return _interleave(*rows, axis=1)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        """Twice the size."""
        batch, *spatial, channels = input_shape[0]
        return (batch, *(None if n is None else 2 * n for n in spatial), channels)


def _interleave(even: Any, odd: Any, *, axis: int) -> Any:
    shape = list(ops.shape(even))
    shape[axis] = 2 * shape[axis]
    return ops.reshape(ops.stack([even, odd], axis=axis + 1), shape)
