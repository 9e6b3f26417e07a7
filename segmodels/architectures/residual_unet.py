"""U-Net with a residual encoder and deep supervision (Isensee et al. 2024, after He et al. 2016).

Kernels and strides are given per level and axis, so that a volume with thick slices is convolved and halved
in plane until its voxels are about cubes, and only then across slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Literal

from segmodels.architectures.attention import Attention, check_attention, gate, scse
from segmodels.architectures.parts import Norm, Parts, per_axis

if TYPE_CHECKING:
    import keras

PerLevel = Sequence[int | Sequence[int]]


def residual_unet(
    *,
    channels: int,
    classes: int,
    ndim: Literal[2, 3] = 2,
    filters: Sequence[int] = (32, 64, 128, 256, 320),
    blocks: Sequence[int] | None = None,
    kernels: PerLevel | None = None,
    strides: PerLevel | None = None,
    deep_supervision: bool = False,
    attention: Attention | None = None,
    size: Sequence[int | None] | None = None,
    norm: Norm = "batch",
    dropout: float = 0.0,
    name: str = "residual_unet",
) -> keras.Model:
    """Builds the network.

    Args:
        channels: Input channels.
        classes: Output channels: one per class, or 1 for a sigmoid.
        ndim: Spatial axes.
        filters: Width of each level from the top; the last one has no skip.
        blocks: Residual blocks per level of the encoder; None takes 1, 3, 4, then 6 each.
        kernels: Kernel of each level, one number or one per axis; None takes 3.
        strides: What each level's first convolution strides; the first level's is 1. None takes 2 below it.
        deep_supervision: Whether coarser decoder levels have outputs too, for training; see
            :func:`segmodels.supervision.plain` for the model without them.
        attention: ``gate`` weights each skip, ``scse`` each decoder level; None does neither.
        size: Fixed spatial shape, or None for any.
        norm: Of the features; see :class:`segmodels.architectures.parts.Parts`.
        dropout: Rate after the last level of the encoder.
        name: Name of the model.

    Returns:
        ``(batch, *spatial, channels)`` → ``(batch, *spatial, classes)``, float32 logits; with deep
        supervision a list of these and of coarser ones, finest first.

    Raises:
        ValueError: The options do not fit together.
    """
    from keras import layers

    parts = Parts(ndim, norm)
    check_attention(attention)
    depth = len(filters)
    blocks = tuple(blocks) if blocks is not None else (1, 3, 4, *(6,) * depth)[:depth]
    kernel = [per_axis(k, ndim) for k in kernels or (3,) * depth]
    stride = [per_axis(s, ndim) for s in strides or (1, *(2,) * (depth - 1))]
    if depth < 2 or min(*filters, *blocks) < 1:
        raise ValueError(f"filters needs two levels or more, not {tuple(filters)}, each with a block or more")
    if not depth == len(blocks) == len(kernel) == len(stride):
        raise ValueError(f"blocks, kernels and strides need {depth} entries, one per level of filters")
    if prod(stride[0]) != 1:
        raise ValueError("the first level's stride is 1 on every axis, so that logits have the image's size")
    total = [tuple(prod(s[d] for s in stride[: i + 1]) for d in range(ndim)) for i in range(depth)]

    image, x = parts.start(channels, size, total[-1])
    x = parts.convolve(x, filters[0], "stem", kernel=kernel[0])
    skips = []
    for i, width in enumerate(filters):
        for b in range(blocks[i]):
            x = _block(parts, x, width, f"down{i}_block{b}", kernel[i], stride[i] if b == 0 else (1,) * ndim)
        skips.append(x)
    x = parts.drop(x, dropout)
    heads = []
    for i in reversed(range(depth - 1)):
        step = stride[i + 1]
        x = parts.layer("ConvTranspose")(
            filters[i], step, strides=step, padding="same", kernel_initializer="he_normal", name=f"up{i}"
        )(x)
        skip = gate(parts, skips[i], x, f"decode{i}") if attention == "gate" else skips[i]
        x = layers.Concatenate(name=f"skip{i}")([skip, x])
        x = parts.convolve(x, filters[i], f"decode{i}", kernel=kernel[i])
        if attention == "scse":
            x = scse(parts, x, f"decode{i}")
        if i == 0 or (deep_supervision and i < max(2, depth - 2)):  # the coarsest level says too little
            heads.append((parts.head(x, classes, f"logits{i}" if i else "logits"), total[i], 0.5**i))
    whole = sum(share for *_, share in heads)
    (logits, _, finest), *coarser = [(head, scale, share / whole) for head, scale, share in reversed(heads)]
    return parts.finish(image, logits, auxiliary=coarser, weight=finest, name=name)


def _block(
    parts: Parts,
    x: keras.KerasTensor,
    width: int,
    label: str,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
) -> keras.KerasTensor:
    from keras import layers

    y = parts.convolve(x, width, label, 1, kernel=kernel, stride=stride)
    y = parts.convolve(y, width, label, 2, kernel=kernel, activation="none")
    if prod(stride) != 1:
        x = parts.layer("AveragePooling")(stride, name=f"{label}_shrink")(x)
    if int(x.shape[-1]) != width:
        x = parts.convolve(x, width, label, "_short", kernel=1, activation="none")
    return parts.activate(layers.Add(name=f"{label}_add")([x, y]), f"{label}_out")
