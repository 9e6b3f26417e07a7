"""Fully convolutional networks 32s, 16s and 8s (Long et al. 2015).

The fully connected layers of VGG are convolutions, fc6 of 7 × 7 and fc7 of 1 × 1; their scores, and those of
pool4 and pool3, are added on the way up. Transposed convolutions start bilinear and learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from segmodels.architectures.parts import Norm, Parts
from segmodels.backbones import Weights, backbone_features, scaled

if TYPE_CHECKING:
    import keras

#: Channels of fc6 and fc7 at full width.
FULLY = 4096


def fcn(
    stride: Literal[8, 16, 32],
    *,
    channels: int,
    classes: int,
    ndim: Literal[2] = 2,
    backbone: str = "vgg16",
    width: float = 1.0,
    weights: Weights = None,
    size: Sequence[int | None] | None = None,
    norm: Norm = "batch",
    dropout: float = 0.0,
    name: str | None = None,
) -> keras.Model:
    """Builds the network.

    Args:
        stride: Pixels of the image per score of the finest score layer.
        channels: Input channels.
        classes: Output channels: one per class, or 1 for a sigmoid.
        ndim: Spatial axes: 2.
        backbone: One of :func:`segmodels.list_backbones`.
        width: Factor of all widths.
        weights: ImageNet weights of the backbone: a file; None draws them at random.
        size: Fixed spatial shape, or None for any.
        norm: Of the features; ``none`` is the original.
        dropout: Rate after fc6 and after fc7; 0.5 is the original.
        name: Name of the model.

    Returns:
        ``(batch, *spatial, channels)`` → ``(batch, *spatial, classes)``, float32 logits.

    Raises:
        ValueError: The options do not fit together.
    """
    from keras import layers

    parts = Parts(ndim, norm)
    image, x = parts.start(channels, size, 32)
    features = backbone_features(backbone, x, width=width, norm=norm, weights=weights)
    fully = scaled(FULLY, width)
    x = parts.drop(parts.convolve(features[4], fully, "fc", 6, kernel=7), dropout, "dropout6")
    x = parts.drop(parts.convolve(x, fully, "fc", 7, kernel=1), dropout, "dropout7")
    x = parts.head(x, classes, "score")
    reached = 32
    for i in (4, 3):
        if reached > stride:
            x = _enlarge(x, classes, 2, f"up{reached}")
            x = layers.Add(name=f"with_pool{i}", dtype="float32")(
                [x, parts.head(features[i - 1], classes, f"score_pool{i}")]
            )
            reached //= 2
    return parts.finish(image, _enlarge(x, classes, reached, "logits"), name=name or f"fcn{stride}")


def _enlarge(x: keras.KerasTensor, classes: int, factor: int, name: str) -> keras.KerasTensor:
    from keras import layers

    from segmodels.layers.initial import Bilinear

    return layers.Conv2DTranspose(
        classes,
        2 * factor,
        strides=factor,
        padding="same",
        use_bias=False,
        kernel_initializer=Bilinear(),
        dtype="float32",
        name=name,
    )(x)
