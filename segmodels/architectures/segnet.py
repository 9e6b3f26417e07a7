"""SegNet (Badrinarayanan et al. 2017): the decoder puts values back where each maximum was.

The places of the maxima are all that crosses from the encoder to the decoder; no features do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from segmodels.architectures.parts import Norm, Parts

if TYPE_CHECKING:
    import keras


def segnet(
    *,
    channels: int,
    classes: int,
    ndim: Literal[2] = 2,
    filters: Sequence[int] = (64, 128, 256, 512, 512),
    convolutions: Sequence[int] = (2, 2, 3, 3, 3),
    size: Sequence[int | None] | None = None,
    norm: Norm = "batch",
    dropout: float = 0.0,
    name: str = "segnet",
) -> keras.Model:
    """Builds the network; the defaults are the encoder of VGG16 and its mirror image.

    Args:
        channels: Input channels.
        classes: Output channels: one per class, or 1 for a sigmoid.
        ndim: Spatial axes: 2.
        filters: Width of each level.
        convolutions: Convolutions of each level, in the encoder and in the decoder.
        size: Fixed spatial shape, or None for any.
        norm: Of the features; see :class:`segmodels.architectures.parts.Parts`.
        dropout: Rate after the encoder.
        name: Name of the model.

    Returns:
        ``(batch, *spatial, channels)`` → ``(batch, *spatial, classes)``, float32 logits.

    Raises:
        ValueError: The options make no SegNet.
    """
    from segmodels.layers.unpooling import MaxPoolingWithIndices, MaxUnpooling

    parts = Parts(ndim, norm)
    if not filters or len(filters) != len(convolutions) or min(*filters, *convolutions) < 1:
        raise ValueError("filters and convolutions need as many positive numbers each, one per level")
    image, x = parts.start(channels, size, 2 ** len(filters))
    places = []
    for i, (width, count) in enumerate(zip(filters, convolutions, strict=True)):
        for c in range(1, count + 1):
            x = parts.convolve(x, width, f"down{i}", c)
        x, where = MaxPoolingWithIndices(name=f"pool{i}")(x)
        places.append(where)
    x = parts.drop(x, dropout)
    for i, count in reversed(list(enumerate(convolutions))):
        x = MaxUnpooling(name=f"unpool{i}")([x, places[i]])
        above = filters[max(0, i - 1)]  # the last convolution has the width that the next level expects
        for c in range(1, count + 1):
            x = parts.convolve(x, above if c == count else filters[i], f"decode{i}", c)
    return parts.finish(image, parts.head(x, classes), name=name)
