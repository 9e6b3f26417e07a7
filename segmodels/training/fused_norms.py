"""Batch norm in one operation while a network trains on TensorFlow.

Keras composes it of a dozen float32 operations, each of which goes through memory; TensorFlow has one for the
way there and one for the way back, which also read and write bfloat16. The numbers are the same but for
rounding, the layers and what is saved of them stay Keras' own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras


@contextmanager
def fused_norms(network: keras.Model) -> Iterator[int]:
    """Lets the network's batch norms compute their training step in one operation inside the block.

    Nothing changes on another backend, for layers that do not learn, or for ones with settings that the
    operation does not know.

    Args:
        network: Called with ``training=True`` inside; traced functions keep what they were traced with.

    Yields:
        How many layers are served.
    """
    found = [layer for layer in network.layers if _able(layer)] if _on_tensorflow() else []
    for layer in found:
        layer.call = _fused(layer, layer.call)
    try:
        yield len(found)
    finally:
        for layer in found:
            del layer.call


def _on_tensorflow() -> bool:
    return bool(keras.backend.backend() == "tensorflow")


def _able(layer: Any) -> bool:
    if type(layer) is not keras.layers.BatchNormalization or layer.moving_mean is None:
        return False
    axes = layer.input_spec.ndim
    last = layer.axis in (-1, axes - 1)
    return bool(
        last and axes >= 4 and layer.scale and layer.center and not layer.renorm and not layer.synchronized
    )


def _fused(layer: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    import tensorflow as tf

    def call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not training or not layer.trainable or mask is not None:
            return original(inputs, training=training, mask=mask)
        shape, channels = tf.shape(inputs), inputs.shape[-1]
        # (batch, rows, the other axes, channels): the operation knows two spatial axes on CPUs
        flat = inputs if len(inputs.shape) == 4 else tf.reshape(inputs, [shape[0], shape[1], -1, channels])
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=flat,
            scale=layer.gamma.value,
            offset=layer.beta.value,
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=layer.epsilon,
            exponential_avg_factor=1.0,
            is_training=True,
        )
        # Bessel's correction, which Keras does not make, is undone.
        count = tf.cast(tf.size(inputs) // channels, tf.float32)
        variance *= tf.maximum(count - 1.0, 1.0) / count
        for moving, new in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            moving.assign(moving * layer.momentum + new * (1.0 - layer.momentum))
        return tf.reshape(y, shape)

    return call
