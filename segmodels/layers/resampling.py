"""Resampling between sizes that are known only when a model runs, each axis as one small matrix.

A product with a matrix made from the two sizes is the same on every backend, needs no size in advance, and
converts for OpenVINO; a library's own resizing does not do all three.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

Shape = tuple[int | None, ...]


def _apply(rows: Any, columns: Any, x: Any) -> Any:
    """``(oh, h)`` and ``(ow, w)`` matrices applied to ``(batch, h, w, channels)``."""
    rows, columns = ops.cast(rows, x.dtype), ops.cast(columns, x.dtype)
    return ops.einsum("pw,bowc->bopc", columns, ops.einsum("oh,bhwc->bowc", rows, x))


def _positions(n: Any) -> Any:
    return ops.cast(ops.arange(n), "float32")


@keras.saving.register_keras_serializable(package="segmodels")
class ResizeLike(keras.layers.Layer):
    """Bilinear resizing of ``x`` to the spatial size of another tensor; pixel centres correspond.

    Beyond the outermost centres the edge value holds (``align_corners=False`` elsewhere).
    """

    def call(self, inputs: Sequence[Any]) -> Any:
        """``[x, like]``, both ``(batch, h, w, channels)`` → ``x`` of the size of ``like``."""
        x, like = inputs
        (h, w), (oh, ow) = ops.shape(x)[1:3], ops.shape(like)[1:3]
        return _apply(_bilinear(h, oh), _bilinear(w, ow), x)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        """Sizes of the second, channels of the first."""
        x, like = input_shape
        return (x[0], *like[1:3], x[-1])


def _bilinear(n: Any, wanted: Any) -> Any:
    """``(wanted, n)`` weights of linear interpolation."""
    size, target = ops.cast(n, "float32"), ops.cast(wanted, "float32")
    at = (_positions(wanted) + 0.5) * size / target - 0.5
    at = ops.minimum(ops.maximum(at, 0.0), size - 1.0)
    return ops.maximum(1.0 - ops.abs(at[:, None] - _positions(n)[None, :]), 0.0)


@keras.saving.register_keras_serializable(package="segmodels")
class AdaptiveAveragePooling(keras.layers.Layer):
    """Means over ``bins`` × ``bins`` cells of a map of any size.

    Cell ``i`` of an axis of ``n`` holds the pixels ``⌊i n / bins⌋ … ⌈(i + 1) n / bins⌉ - 1``, so that
    neighbouring cells may share one, and every cell holds at least one.

    Args:
        bins: Cells per axis.
    """

    def __init__(self, bins: int, **options: Any) -> None:
        super().__init__(**options)
        self.bins = int(bins)

    def call(self, x: Any) -> Any:
        """``(batch, h, w, channels)`` → ``(batch, bins, bins, channels)``."""
        h, w = ops.shape(x)[1:3]
        return _apply(self._cells(h), self._cells(w), x)

    def _cells(self, n: Any) -> Any:
        i, at = ops.arange(self.bins, dtype="int32"), ops.cast(ops.arange(n), "int32")
        n = ops.cast(n, "int32")
        start, end = i * n // self.bins, ((i + 1) * n + self.bins - 1) // self.bins
        inside = ops.logical_and(at[None, :] >= start[:, None], at[None, :] < end[:, None])
        return ops.cast(inside, "float32") / ops.cast(end - start, "float32")[:, None]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """``bins`` by ``bins``."""
        return (input_shape[0], self.bins, self.bins, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Settings that rebuild the layer."""
        return {**super().get_config(), "bins": self.bins}
