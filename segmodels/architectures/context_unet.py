"""A shallow U-Net that also sees its wider surroundings at a quarter of the resolution.

What a value means can depend on what lies around it: a coil's bias field, a scanner's
gamma. The surroundings enter as local maximum and mean (in a T1 volume about the level of
white matter and of all tissue) and as a few learned features of both, enlarged and joined
to the input of the U-Net, whose own field of view can then stay small and cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from segmodels.architectures.parts import Norm, Parts
from segmodels.architectures.unet import stride_of

if TYPE_CHECKING:
    import keras

#: Pixels of the image per pixel of the surroundings.
SURROUNDINGS_STRIDE = 4


def context_unet(
    *,
    channels: int,
    classes: int,
    ndim: Literal[2, 3] = 3,
    filters: Sequence[int] = (16, 24, 32),
    surroundings: int = 16,
    size: Sequence[int | None] | None = None,
    norm: Norm = "none",
    dropout: float = 0.0,
    name: str = "context_unet",
) -> keras.Model:
    """Builds the network; by default without norm layers, so that intensities keep their meaning.

    Args:
        channels: Input channels.
        classes: Output channels.
        ndim: Spatial axes.
        filters: Width of each level of the U-Net from the top, the bottleneck last.
        surroundings: Width of the convolutions over the surroundings.
        size: Fixed spatial shape, or None for any.
        norm: Of the features; see :class:`segmodels.architectures.parts.Parts`.
        dropout: Rate after the bottleneck.
        name: Name of the model.

    Returns:
        ``(batch, *spatial, channels)`` → ``(batch, *spatial, classes)``, float32 logits.

    Raises:
        ValueError: The widths make no U-Net.
    """
    from keras import layers

    parts = Parts(ndim, norm)
    if len(filters) < 2 or stride_of(filters) % SURROUNDINGS_STRIDE:
        raise ValueError(f"filters needs three levels or more, the bottleneck included, not {tuple(filters)}")
    transposed, maximum = parts.layer("ConvTranspose"), parts.layer("MaxPooling")
    mean, enlarge = parts.layer("AveragePooling"), parts.layer("UpSampling")

    def conv(
        x: keras.KerasTensor, width: int, label: str, part: int, *, dilation: int = 1
    ) -> keras.KerasTensor:
        return parts.convolve(x, width, label, part, dilation=dilation)

    image, padded = parts.start(channels, size, stride_of(filters))
    small = mean(SURROUNDINGS_STRIDE, name="around")(padded)
    peak = maximum(7, strides=1, padding="same", name="around_peak")(small)
    peak = mean(5, strides=1, padding="same", name="around_peak_smooth")(peak)
    level = mean(7, strides=1, padding="same", name="around_mean")(small)
    features = layers.Concatenate(name="around_all")([small, peak, level])
    features = conv(features, surroundings, "around", 1)
    features = conv(features, surroundings, "around", 2, dilation=2)
    features = conv(features, max(1, surroundings // 2), "around", 3)
    around = layers.Concatenate(name="around_out")([peak, level, features])
    around = enlarge(SURROUNDINGS_STRIDE, name="around_enlarge")(around)
    around = mean(5, strides=1, padding="same", name="around_smooth")(around)

    x = layers.Concatenate(name="joined")([padded, around])
    skips = []
    for i, width in enumerate(filters[:-1]):
        x = conv(conv(x, width, f"down{i}", 1), width, f"down{i}", 2)
        skips.append(x)
        x = maximum(2, name=f"pool{i}")(x)
    x = conv(conv(x, filters[-1], "bottleneck", 1), filters[-1], "bottleneck", 2)
    x = parts.drop(x, dropout)
    for i, width in reversed(list(enumerate(filters[:-1]))):
        x = transposed(width, 2, strides=2, name=f"up{i}")(x)
        x = layers.Concatenate(name=f"skip{i}")([x, skips[i]])
        x = conv(conv(x, width, f"up{i}", 1), width, f"up{i}", 2)
    return parts.finish(image, parts.head(x, classes), name=name)
