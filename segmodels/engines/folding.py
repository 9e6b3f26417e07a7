"""Batch normalisation folded into the convolution before it: the same function in fewer passes over memory.

At prediction ``BatchNormalization`` is one factor and one summand per channel, and a convolution is linear, so
both fit into its kernel and bias:  ``γ (conv(x) + b - μ) / sqrt(σ² + ε) + β``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

#: Convolutions whose kernel ends in ``(…, in, out)``, and those where it ends in ``(…, out, in)``.
_PLAIN = ("Conv1D", "Conv2D", "Conv3D")
_TRANSPOSED = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")


@dataclass(frozen=True)
class _Pair:
    convolution: Any
    norm: Any


def fold_batch_norm(model: Any) -> Any:
    """Folds every batch norm that directly follows a convolution.

    A pair is folded where the convolution is linear, channels are its last axis, each of the two is called
    once, and nothing else looks at what is between them. Other layers are shared with ``model``, so that the
    two must not be trained side by side. Nested models are left as they are.

    Args:
        model: A Keras model, float32 weights; anything but a functional one is returned as it is.

    Returns:
        A model with the same inputs and outputs, or ``model`` itself if there is nothing to fold.
    """
    import keras

    if isinstance(model, keras.Sequential):
        if not model.built:
            return model
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    # Keras has no public name for "built by connecting layers"; only such models know their operations.
    if not hasattr(model, "operations") or not getattr(model, "inputs", None):
        return model
    pairs = _pairs(model)
    if not pairs:
        return model
    folded = {id(p.convolution): _with_bias(p.convolution) for p in pairs}
    dropped = {id(p.norm) for p in pairs}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return args[0] if id(layer) in dropped else layer(*args, **kwargs)

    slim = keras.models.clone_model(
        model, clone_function=lambda layer: folded.get(id(layer), layer), call_function=call
    )
    for pair in pairs:
        kernel, bias = folded_weights(pair.convolution, pair.norm)
        layer = folded[id(pair.convolution)]
        layer.kernel.assign(kernel)
        layer.bias.assign(bias)
    return slim


def folded_weights(convolution: Any, norm: Any) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Kernel and bias of a convolution that does the work of both layers; computed in float64."""
    factor, summand = _affine(norm)
    kernel = _array(convolution.kernel)
    bias = _array(convolution.bias) if convolution.use_bias else np.zeros_like(factor)
    over = factor[:, None] if type(convolution).__name__ in _TRANSPOSED else factor
    return (kernel * over).astype(np.float32), (bias * factor + summand).astype(np.float32)


def _affine(norm: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    mean, variance = _array(norm.moving_mean), _array(norm.moving_variance)
    factor = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        factor *= _array(norm.gamma)
    summand = -mean * factor
    if norm.center:
        summand += _array(norm.beta)
    return factor, summand


def _array(variable: Any) -> npt.NDArray[np.float64]:
    from keras import ops

    return np.asarray(ops.convert_to_numpy(variable), np.float64)


def _with_bias(convolution: Any) -> Any:
    """An empty twin of a convolution that has a bias."""
    config = convolution.get_config()
    config |= {"use_bias": True, "bias_initializer": "zeros"}
    return type(convolution).from_config(config)


def _pairs(model: Any) -> list[_Pair]:
    import keras

    layers = keras.layers
    kinds = {name: getattr(layers, name) for name in (*_PLAIN, *_TRANSPOSED)}
    calls: dict[int, int] = {}
    readers: dict[int, int] = {}
    source: dict[int, Any] = {}  # by tensor, what made it
    for node in (node for depth in model._nodes_by_depth.values() for node in depth):
        calls[id(node.operation)] = calls.get(id(node.operation), 0) + 1
        for tensor in node.input_tensors:
            readers[id(tensor)] = readers.get(id(tensor), 0) + 1
        for tensor in node.outputs:
            source[id(tensor)] = node.operation
    for tensor in model.outputs:
        readers[id(tensor)] = readers.get(id(tensor), 0) + 1
    found = []
    for node in (node for depth in model._nodes_by_depth.values() for node in depth):
        norm = node.operation
        if type(norm) is not layers.BatchNormalization or calls[id(norm)] > 1:
            continue
        (tensor,) = node.input_tensors
        convolution: Any = source.get(id(tensor))
        if (
            # Exactly these classes: a class derived from them may do more.
            type(convolution) in kinds.values()
            and calls[id(convolution)] == 1
            and readers[id(tensor)] == 1
            and convolution.activation is keras.activations.linear
            and convolution.data_format == "channels_last"
            and norm.axis in (-1, len(tensor.shape) - 1)
        ):
            found.append(_Pair(convolution, norm))
    return found
