"""An OpenVINO model quantised to 8-bit integers after training, calibrated on the bundle's golden input.

Every convolution but the last gets its weights rounded to 8 bits per output channel and its input to 8 bits
over the range seen in calibration. Both are marked by ``FakeQuantize``, which OpenVINO turns into integer
kernels where the processor has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

#: Type of an operation, and the axis of its weights that runs over output channels.
_CHANNEL_AXIS = {"Convolution": 0, "ConvolutionBackpropData": 1}
_PASSING = {"Add", "Convert", "Multiply", "Reshape", "Transpose"}


def quantise(ov: Any, model: Any, calibration: Sequence[npt.NDArray[np.float32]]) -> None:
    """Quantises ``model`` in place.

    Args:
        ov: The module ``openvino``.
        model: A float model of one input and one output.
        calibration: Arrays that the model takes, ``(b, …)`` in its own layout, of any sizes it takes.
    """
    last = _last_convolution(model)
    found = [
        (node, weights)
        for node in model.get_ordered_ops()
        if node.get_type_name() in _CHANNEL_AXIS
        and node.get_friendly_name() != last
        and (weights := _weights(node)) is not None
    ]
    ranges = _ranges(ov, model, [node for node, _ in found], calibration)
    for (node, weights), (low, high) in zip(found, ranges, strict=True):
        axis = _CHANNEL_AXIS[node.get_type_name()]
        _put(ov, node, 1, *_weight_range(weights, axis), levels=255)
        _put(ov, node, 0, *_input_range(low, high), levels=256)
    model.validate_nodes_and_infer_types()


def _put(ov: Any, node: Any, port: int, low: Any, high: Any, *, levels: int) -> None:
    ops = ov.opset13
    bounds = [ops.constant(np.asarray(v, np.float32)) for v in (low, high)]
    source = node.input(port).get_source_output()
    node.input(port).replace_source_output(ops.fake_quantize(source, *bounds, *bounds, levels).output(0))


def _weights(node: Any) -> npt.NDArray[np.float32] | None:
    """A convolution's constant weights, also if they are stored narrower and widened."""
    source = node.input_value(1).get_node()
    while source.get_type_name() == "Convert":
        source = source.input_value(0).get_node()
    return np.asarray(source.data, np.float32) if source.get_type_name() == "Constant" else None


def _last_convolution(model: Any) -> str:
    """The one whose outcome is the logits: it stays exact."""
    node = model.output(0).get_node().input_value(0).get_node()
    while node.get_type_name() in _PASSING:
        node = node.input_value(0).get_node()
    return str(node.get_friendly_name())


def _ranges(
    ov: Any, model: Any, nodes: list[Any], calibration: Sequence[npt.NDArray[np.float32]]
) -> list[tuple[float, float]]:
    """Least and greatest value that enters each convolution."""
    ops = ov.opset13
    outputs = []
    for node in nodes:
        source = node.input_value(0)
        axes = ops.constant(np.arange(len(source.get_partial_shape()), dtype=np.int64))
        outputs += [ops.reduce_min(source, axes).output(0), ops.reduce_max(source, axes).output(0)]
    watched = ov.Model(outputs, model.get_parameters(), "watched")
    options = {"INFERENCE_PRECISION_HINT": ov.Type.f32}
    compiled = ov.compile_model(watched, "CPU", options)
    seen = np.array([[float(v) for v in compiled([x]).values()] for x in calibration])
    low, high = seen[:, ::2].min(axis=0), seen[:, 1::2].max(axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _weight_range(
    weights: npt.NDArray[np.float32], axis: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    others = tuple(d for d in range(weights.ndim) if d != axis)
    high = np.abs(weights).max(axis=others, keepdims=True)
    high[high == 0] = 1
    return -high, high


def _input_range(low: float, high: float) -> tuple[float, float]:
    """Zero is kept exact: padding adds zeros, and activations are full of them."""
    if low >= 0:
        return 0.0, high or 1.0
    most = max(-low, high * 128 / 127)
    return -most, most * 127 / 128
