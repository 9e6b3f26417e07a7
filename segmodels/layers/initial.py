"""Transposed convolutions that start as bilinear interpolation and learn from there (Long et al. 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np


@keras.saving.register_keras_serializable(package="segmodels")
class Bilinear(keras.initializers.Initializer):
    """Kernel ``(height, width, out, in)`` of a transposed convolution that enlarges each channel bilinearly.

    Meant for kernels of twice the stride. Channels are not mixed.
    """

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """The kernel."""
        height, width, outputs, inputs = shape
        kernel = np.zeros(tuple(shape), np.float32)
        both = np.arange(min(inputs, outputs))
        kernel[:, :, both, both] = np.outer(_tent(height), _tent(width))[..., None]
        return keras.ops.convert_to_tensor(kernel, dtype=dtype or "float32")

    def get_config(self) -> dict[str, Any]:
        """It has no settings."""
        return {}


def _tent(n: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    stride = (n + 1) // 2
    centre = (n - 1) / 2
    return np.maximum(0, 1 - np.abs(np.arange(n) - centre) / stride)
