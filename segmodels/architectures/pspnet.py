"""PSPNet (Zhao et al. 2017): means over 1, 2, 3 and 6 bins tell each pixel about the whole scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from segmodels.architectures.parts import Norm, Parts
from segmodels.backbones import Weights, backbone_features, scaled

if TYPE_CHECKING:
    import keras

BINS = (1, 2, 3, 6)
#: Width of the convolution over the pyramid, and of the auxiliary head's.
WIDTH, AUXILIARY_WIDTH = 512, 256
AUXILIARY_WEIGHT = 0.4


def pspnet(
    *,
    channels: int,
    classes: int,
    ndim: Literal[2] = 2,
    backbone: str = "resnet50",
    output_stride: Literal[8, 16, 32] = 8,
    width: float = 1.0,
    weights: Weights = None,
    auxiliary: bool = False,
    size: Sequence[int | None] | None = None,
    norm: Norm = "batch",
    dropout: float = 0.0,
    name: str = "pspnet",
) -> keras.Model:
    """Builds the network.

    Args:
        channels: Input channels.
        classes: Output channels: one per class, or 1 for a sigmoid.
        ndim: Spatial axes: 2.
        backbone: One of :func:`segmodels.list_backbones`.
        output_stride: Pixels of the image per feature; the backbone is dilated below 32.
        width: Factor of all widths.
        weights: ImageNet weights of the backbone: a file; None draws them at random.
        auxiliary: Whether C4 has an output too, of weight 0.4, for training; see
            :func:`segmodels.supervision.plain` for the model without it.
        size: Fixed spatial shape, or None for any.
        norm: Of the features; see :class:`segmodels.architectures.parts.Parts`.
        dropout: Rate before the logits; 0.1 is the original.
        name: Name of the model.

    Returns:
        ``(batch, *spatial, channels)`` → ``(batch, *spatial, classes)``, float32 logits; with the auxiliary
        head a list of two such.

    Raises:
        ValueError: The options do not fit together.
    """
    from keras import layers

    from segmodels.layers.resampling import AdaptiveAveragePooling

    parts = Parts(ndim, norm)
    image, padded = parts.start(channels, size, output_stride)
    *_, c4, c5 = backbone_features(
        backbone, padded, output_stride=output_stride, width=width, norm=norm, weights=weights
    )
    pyramid = [c5]
    for bins in BINS:
        level = AdaptiveAveragePooling(bins, name=f"bins{bins}")(c5)
        level = parts.convolve(level, max(1, int(c5.shape[-1]) // len(BINS)), f"pyramid{bins}", kernel=1)
        pyramid.append(parts.resize(level, c5, f"pyramid{bins}_up"))
    x = layers.Concatenate(name="pyramid")(pyramid)
    x = parts.drop(parts.convolve(x, scaled(WIDTH, width), "fused"), dropout)
    logits = parts.resize(parts.head(x, classes), padded, "logits_up", exact=True)
    if not auxiliary:
        return parts.finish(image, logits, name=name)
    x = parts.convolve(c4, scaled(AUXILIARY_WIDTH, width), "auxiliary")
    x = parts.drop(x, dropout, "auxiliary_dropout")
    coarse = parts.resize(parts.head(x, classes, "auxiliary_logits"), padded, "auxiliary_up", exact=True)
    return parts.finish(image, logits, auxiliary=[(coarse, (1, 1), AUXILIARY_WEIGHT)], name=name)
