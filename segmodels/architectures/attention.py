"""Attention in the decoder of a U-Net."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import keras

    from segmodels.architectures.parts import Parts

Attention = Literal["gate", "scse"]


def check_attention(attention: str | None) -> None:
    """Refuses what is no kind of attention.

    Raises:
        ValueError: Says what there is.
    """
    if attention is not None and attention not in get_args(Attention):
        raise ValueError(f"there is no attention {attention!r}; choose gate, scse or None")


def gate(parts: Parts, skip: keras.KerasTensor, up: keras.KerasTensor, label: str) -> keras.KerasTensor:
    """A skip weighted pixel by pixel by what the decoder knows (Oktay et al. 2018), additive attention."""
    from keras import layers

    conv, width = parts.layer("Conv"), max(1, int(skip.shape[-1]) // 2)
    both = layers.Add(name=f"{label}_gate_sum")(
        [
            conv(width, 1, use_bias=False, name=f"{label}_gate_skip")(skip),
            conv(width, 1, name=f"{label}_gate_signal")(up),
        ]
    )
    both = layers.Activation("relu", name=f"{label}_gate_relu")(both)
    share = conv(1, 1, activation="sigmoid", name=f"{label}_gate_share")(both)
    return layers.Multiply(name=f"{label}_gate")([skip, share])


def scse(parts: Parts, x: keras.KerasTensor, label: str) -> keras.KerasTensor:
    """Concurrent spatial and channel squeeze and excitation (Roy et al. 2018), the two added."""
    from keras import layers

    conv, width = parts.layer("Conv"), int(x.shape[-1])
    mean = parts.layer("GlobalAveragePooling")(keepdims=True, name=f"{label}_squeeze")(x)
    mean = conv(max(1, width // 2), 1, activation="relu", name=f"{label}_excite1")(mean)
    channel = conv(width, 1, activation="sigmoid", name=f"{label}_excite2")(mean)
    spatial = conv(1, 1, activation="sigmoid", name=f"{label}_where")(x)
    return layers.Add(name=f"{label}_scse")(
        [
            layers.Multiply(name=f"{label}_by_channel")([x, channel]),
            layers.Multiply(name=f"{label}_by_pixel")([x, spatial]),
        ]
    )
