"""U-Net (Ronneberger et al. 2015; Çiçek et al. 2016 in 3-D), any number of levels.

Each level has two convolutions; the skip is what they give *before* pooling; below the
last level sits a bottleneck. Convolutions pad with zeros, so nothing shrinks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from segmodels.architectures.attention import Attention, check_attention, gate, scse
from segmodels.architectures.parts import Norm, Parts

if TYPE_CHECKING:
    import keras


def stride_of(filters: Sequence[int]) -> int:
    """Total stride of a U-Net with these widths: each level above the bottleneck halves."""
    return int(2 ** (len(filters) - 1))


def unet(
    *,
    channels: int,
    classes: int,
    ndim: Literal[2, 3] = 2,
    filters: Sequence[int] = (32, 64, 128, 256, 512),
    attention: Attention | None = None,
    size: Sequence[int | None] | None = None,
    norm: Norm = "batch",
    dropout: float = 0.0,
    name: str = "unet",
) -> keras.Model:
    """Builds a U-Net.

    Args:
        channels: Input channels.
        classes: Output channels: one per class, or 1 for a sigmoid.
        ndim: Spatial axes.
        filters: Width of each level from the top, the bottleneck last; at least two.
        attention: ``gate`` weights each skip, ``scse`` each decoder level; None does neither.
        size: Fixed spatial shape, or None for any.
        norm: Of the features; see :class:`segmodels.architectures.parts.Parts`.
        dropout: Rate after the bottleneck.
        name: Name of the model.

    Returns:
        ``(batch, *spatial, channels)`` → ``(batch, *spatial, classes)``, float32 logits.

    Raises:
        ValueError: The options make no U-Net.
    """
    from keras import layers

    parts = Parts(ndim, norm)
    check_attention(attention)
    if len(filters) < 2 or min(filters) < 1:
        raise ValueError(
            f"filters needs one width per level and one for the bottleneck, not {tuple(filters)}"
        )

    def level(x: keras.KerasTensor, width: int, label: str) -> keras.KerasTensor:
        return parts.convolve(parts.convolve(x, width, label, 1), width, label, 2)

    image, x = parts.start(channels, size, stride_of(filters))
    skips = []
    for i, width in enumerate(filters[:-1]):
        x = level(x, width, f"down{i}")
        skips.append(x)
        x = parts.layer("MaxPooling")(2, name=f"pool{i}")(x)
    x = level(x, filters[-1], "bottleneck")
    x = parts.drop(x, dropout)
    enlarge = parts.layer("ConvTranspose")
    for i, width in reversed(list(enumerate(filters[:-1]))):
        x = enlarge(width, 2, strides=2, padding="same", kernel_initializer="he_normal", name=f"up{i}")(x)
        skip = gate(parts, skips[i], x, f"decode{i}") if attention == "gate" else skips[i]
        x = layers.Concatenate(name=f"skip{i}")([skip, x])
        x = level(x, width, f"decode{i}")
        if attention == "scse":
            x = scse(parts, x, f"decode{i}")
    return parts.finish(image, parts.head(x, classes), name=name)
