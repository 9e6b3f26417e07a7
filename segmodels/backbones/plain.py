"""Two convolutions per stage: a small encoder for small data and quick tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segmodels.architectures.parts import Norm, Parts
from segmodels.backbones.scaling import Dilation, scaled

if TYPE_CHECKING:
    import keras

WIDTHS = (32, 64, 128, 256, 512)


def features(
    x: keras.KerasTensor, *, dilation: Dilation, width: float, norm: Norm
) -> tuple[keras.KerasTensor, ...]:
    """C1…C5; the first convolution of each stage strides."""
    parts, found = Parts(2, norm), []
    for stage, filters in enumerate(WIDTHS, start=1):
        n, label = scaled(filters, width), f"stage{stage}"
        step = dilation.stride(stage)
        x = parts.convolve(x, n, label, 1, stride=step, dilation=dilation.rate(stage - 1))
        x = parts.convolve(x, n, label, 2, dilation=dilation.rate(stage))
        found.append(x)
    return tuple(found)
