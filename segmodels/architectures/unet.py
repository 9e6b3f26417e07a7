"""U-Net (Ronneberger et al. 2015; Çiçek et al. 2016 in 3-D), any number of levels.

Each level has two convolutions; the skip is what they give *before* pooling; below the
last level sits a bottleneck. Convolutions pad with zeros, so the output has the input's
shape for spatial sizes that are multiples of :func:`stride_of`. The head emits logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import keras

Norm = Literal["batch", "group", "none"]


def stride_of(filters: Sequence[int]) -> int:
    """Total stride of a U-Net with these widths: each level above the bottleneck halves."""
    return int(2 ** (len(filters) - 1))


def unet(
    *,
    channels: int,
    classes: int,
    ndim: Literal[2, 3] = 2,
    filters: Sequence[int] = (32, 64, 128, 256, 512),
    norm: Norm = "batch",
    dropout: float = 0.0,
    size: Sequence[int | None] | None = None,
    name: str = "unet",
) -> keras.Model:
    """Builds a U-Net.

    Args:
        channels: Input channels.
        classes: Output channels: one per class, or 1 for a sigmoid.
        ndim: Spatial axes.
        filters: Width of each level from the top, the bottleneck last; at least two.
        norm: ``batch`` (momentum 0.9, so that running statistics arrive in a short
            training, and a prediction does not depend on the rest of its tile),
            ``group`` (at most 8 groups) or ``none``.
        dropout: Rate after the bottleneck.
        size: Fixed spatial shape, or None for any multiple of the stride.
        name: Name of the model.

    Returns:
        ``(batch, *spatial, channels)`` → ``(batch, *spatial, classes)``, float32 logits.

    Raises:
        ValueError: A size is no multiple of the stride, or the widths make no U-Net.
    """
    import keras
    from keras import layers

    if ndim not in (2, 3):
        raise ValueError(f"a U-Net has 2 or 3 spatial axes, not {ndim}")
    if len(filters) < 2 or min(filters) < 1:
        raise ValueError(
            f"filters needs one width per level and one for the bottleneck, not {tuple(filters)}"
        )
    shape = tuple(size) if size is not None else (None,) * ndim
    stride = stride_of(filters)
    if len(shape) != ndim or any(s is not None and (s < 1 or s % stride) for s in shape):
        raise ValueError(f"size {shape} must be {ndim} multiples of the stride {stride}")
    convolution = layers.Conv2D if ndim == 2 else layers.Conv3D
    transposed = layers.Conv2DTranspose if ndim == 2 else layers.Conv3DTranspose
    pooling = layers.MaxPooling2D if ndim == 2 else layers.MaxPooling3D

    def level(x: keras.KerasTensor, width: int, label: str) -> keras.KerasTensor:
        for i in (1, 2):
            x = convolution(
                width,
                3,
                padding="same",
                use_bias=norm == "none",
                kernel_initializer="he_normal",
                name=f"{label}_conv{i}",
            )(x)
            if norm == "batch":
                x = layers.BatchNormalization(momentum=0.9, name=f"{label}_norm{i}")(x)
            elif norm == "group":
                groups = next(g for g in range(min(8, width), 0, -1) if width % g == 0)
                x = layers.GroupNormalization(groups, name=f"{label}_norm{i}")(x)
            x = layers.Activation("relu", name=f"{label}_relu{i}")(x)
        return x

    inputs = keras.Input((*shape, channels), name="image")
    x = inputs
    skips = []
    for i, width in enumerate(filters[:-1]):
        x = level(x, width, f"down{i}")
        skips.append(x)
        x = pooling(2, name=f"pool{i}")(x)
    x = level(x, filters[-1], "bottleneck")
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    for i, width in reversed(list(enumerate(filters[:-1]))):
        x = transposed(width, 2, strides=2, padding="same", kernel_initializer="he_normal", name=f"up{i}")(x)
        x = layers.Concatenate(name=f"skip{i}")([skips[i], x])
        x = level(x, width, f"decode{i}")
    # float32 even under a mixed policy: blending and losses need whole logits
    outputs = convolution(classes, 1, dtype="float32", name="logits")(x)
    return keras.Model(inputs, outputs, name=name)
