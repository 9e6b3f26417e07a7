"""ImageNet weights for any number of channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def inflate(kernel: npt.NDArray[np.float32], channels: int) -> npt.NDArray[np.float32]:
    """A first convolution's RGB kernel for another number of channels.

    Three or more channels take red, green, blue, red, … in turn, each divided by how often it is taken; one or
    two take the sum of all three, divided evenly. Either way an image whose channels are all equal gives
    exactly the features of the same grey image in RGB, so that what follows meets values of the usual size.

    Args:
        kernel: ``(height, width, 3, out)``.
        channels: Channels wanted.

    Returns:
        ``(height, width, channels, out)``; for three channels the same.
    """
    if channels == 3:
        return kernel
    if channels < 3:
        return np.repeat(kernel.sum(axis=2, keepdims=True) / channels, channels, axis=2).astype(np.float32)
    taken = np.arange(channels) % 3
    often = np.bincount(taken, minlength=3)
    return (kernel[:, :, taken] / often[taken][:, None]).astype(np.float32)


def copy_weights(original: Any, made: dict[str, Any]) -> None:
    """Gives layers the weights of those of the same name; the first convolution's are inflated.

    Args:
        original: A model with three input channels.
        made: Layers by name, built, of the same widths; one that has no weights takes none.
    """
    for layer in original.layers:
        target, values = made.get(layer.name), layer.get_weights()
        if target is None or not target.weights:
            continue
        wanted = tuple(target.weights[0].shape)
        if values[0].ndim == 4 and values[0].shape[2] == 3 and wanted[2] != 3:
            values[0] = inflate(values[0], wanted[2])
        target.set_weights(values)
