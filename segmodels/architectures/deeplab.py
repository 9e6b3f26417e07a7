"""DeepLab v3 (Chen et al. 2017) and v3+ (Chen et al. 2018): atrous convolutions at several rates, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from segmodels.architectures.parts import Norm, Parts
from segmodels.backbones import Weights, backbone_features, scaled

if TYPE_CHECKING:
    import keras

#: Rates at output stride 16; a grid twice as fine takes twice the rates.
RATES = (6, 12, 18)
WIDTH, LOW_LEVEL_WIDTH = 256, 48


def deeplab(
    plus: bool,
    *,
    channels: int,
    classes: int,
    ndim: Literal[2] = 2,
    backbone: str = "resnet50",
    output_stride: Literal[8, 16, 32] = 16,
    width: float = 1.0,
    weights: Weights = None,
    size: Sequence[int | None] | None = None,
    norm: Norm = "batch",
    dropout: float = 0.0,
    name: str | None = None,
) -> keras.Model:
    """Builds the network.

    Args:
        plus: Whether the decoder of v3+ refines with C2; v3 enlarges its logits at once.
        channels: Input channels.
        classes: Output channels: one per class, or 1 for a sigmoid.
        ndim: Spatial axes: 2.
        backbone: One of :func:`segmodels.list_backbones`.
        output_stride: Pixels of the image per feature; the backbone is dilated below 32.
        width: Factor of all widths.
        weights: ImageNet weights of the backbone: a file; None draws them at random.
        size: Fixed spatial shape, or None for any.
        norm: Of the features; see :class:`segmodels.architectures.parts.Parts`.
        dropout: Rate after the pyramid; 0.5 for v3 and 0.1 for v3+ are common.
        name: Name of the model.

    Returns:
        ``(batch, *spatial, channels)`` → ``(batch, *spatial, classes)``, float32 logits.

    Raises:
        ValueError: The options do not fit together.
    """
    from keras import layers

    parts = Parts(ndim, norm)
    image, padded = parts.start(channels, size, output_stride)
    _, c2, *_, c5 = backbone_features(
        backbone, padded, output_stride=output_stride, width=width, norm=norm, weights=weights
    )
    wide = scaled(WIDTH, width)
    x = parts.drop(_pyramid(parts, c5, wide, max(1, 16 // output_stride)), dropout)
    if plus:
        low = parts.convolve(c2, scaled(LOW_LEVEL_WIDTH, width), "low", kernel=1)
        x = layers.Concatenate(name="with_low")([parts.resize(x, c2, "pyramid_up"), low])
        x = parts.convolve(parts.convolve(x, wide, "decode", 1), wide, "decode", 2)
    logits = parts.resize(parts.head(x, classes), padded, "logits_up", exact=True)
    return parts.finish(image, logits, name=name or ("deeplab_v3_plus" if plus else "deeplab_v3"))


def _pyramid(parts: Parts, x: keras.KerasTensor, width: int, finer: int) -> keras.KerasTensor:
    """Atrous spatial pyramid pooling: 1 × 1, three rates, and the mean of the whole map."""
    from keras import layers

    branches = [parts.convolve(x, width, "aspp1", kernel=1)]
    branches += [parts.convolve(x, width, f"aspp_rate{rate}", dilation=rate * finer) for rate in RATES]
    mean = layers.GlobalAveragePooling2D(keepdims=True, name="aspp_mean")(x)
    mean = parts.convolve(mean, width, "aspp_image", kernel=1)
    branches.append(parts.resize(mean, x, "aspp_image_up"))
    return parts.convolve(layers.Concatenate(name="aspp")(branches), width, "aspp_fused", kernel=1)
