"""A shallow U-Net that also sees its wider surroundings at a quarter of the resolution.

What a value means can depend on what lies around it: a coil's bias field, a scanner's
gamma. The surroundings enter as local maximum and mean (in a T1 volume about the level of
white matter and of all tissue) and as a few learned features of both, enlarged and joined
to the input of the U-Net, whose own field of view can then stay small and cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

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
    name: str = "context_unet",
) -> keras.Model:
    """Builds the network; no norm layers, so intensities keep their meaning.

    Args:
        channels: Input channels.
        classes: Output channels.
        ndim: Spatial axes.
        filters: Width of each level of the U-Net from the top, the bottleneck last.
        surroundings: Width of the convolutions over the surroundings.
        name: Name of the model.

    Returns:
        ``(batch, *spatial, channels)`` → ``(batch, *spatial, classes)``, float32 logits, for
        spatial sizes that are multiples of 4 and of the U-Net's stride.

    Raises:
        ValueError: The widths make no U-Net.
    """
    import keras
    from keras import layers

    if len(filters) < 2 or stride_of(filters) % SURROUNDINGS_STRIDE:
        raise ValueError(f"filters needs three levels or more, the bottleneck included, not {tuple(filters)}")
    convolution = layers.Conv2D if ndim == 2 else layers.Conv3D
    transposed = layers.Conv2DTranspose if ndim == 2 else layers.Conv3DTranspose
    maximum = layers.MaxPooling2D if ndim == 2 else layers.MaxPooling3D
    mean = layers.AveragePooling2D if ndim == 2 else layers.AveragePooling3D
    enlarge = layers.UpSampling2D if ndim == 2 else layers.UpSampling3D

    def conv(x: keras.KerasTensor, width: int, label: str, *, dilation: int = 1) -> keras.KerasTensor:
        return convolution(
            width,
            3,
            padding="same",
            activation="relu",
            dilation_rate=dilation,
            kernel_initializer="he_normal",
            name=label,
        )(x)

    inputs = keras.Input((None,) * ndim + (channels,), name="image")
    small = mean(SURROUNDINGS_STRIDE, name="around")(inputs)
    peak = maximum(7, strides=1, padding="same", name="around_peak")(small)
    peak = mean(5, strides=1, padding="same", name="around_peak_smooth")(peak)
    level = mean(7, strides=1, padding="same", name="around_mean")(small)
    features = layers.Concatenate(name="around_all")([small, peak, level])
    features = conv(features, surroundings, "around_conv1")
    features = conv(features, surroundings, "around_conv2", dilation=2)
    features = conv(features, max(1, surroundings // 2), "around_conv3")
    around = layers.Concatenate(name="around_out")([peak, level, features])
    around = enlarge(SURROUNDINGS_STRIDE, name="around_enlarge")(around)
    around = mean(5, strides=1, padding="same", name="around_smooth")(around)

    x = layers.Concatenate(name="joined")([inputs, around])
    skips = []
    for i, width in enumerate(filters[:-1]):
        x = conv(conv(x, width, f"down{i}_conv1"), width, f"down{i}_conv2")
        skips.append(x)
        x = maximum(2, name=f"pool{i}")(x)
    x = conv(conv(x, filters[-1], "bottleneck_conv1"), filters[-1], "bottleneck_conv2")
    for i, width in reversed(list(enumerate(filters[:-1]))):
        x = transposed(width, 2, strides=2, name=f"up{i}")(x)
        x = layers.Concatenate(name=f"skip{i}")([x, skips[i]])
        x = conv(conv(x, width, f"up{i}_conv1"), width, f"up{i}_conv2")
    outputs = convolution(classes, 1, name="logits", dtype="float32")(x)
    return keras.Model(inputs, outputs, name=name)
