"""Weights of an OpenVINO model made sparse or narrow, in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

#: Operations whose second input is a kernel.
_KERNELS = (
    "Convolution",
    "ConvolutionBackpropData",
    "GroupConvolution",
    "GroupConvolutionBackpropData",
    "MatMul",
)


def prune(ov: Any, model: Any, share: float) -> float:
    """Sets the smallest ``share`` of the weights of each convolution to 0.

    Returns:
        The share of all kernels' weights that is 0 now.
    """
    zero = total = 0
    for node in model.get_ordered_ops():
        constant = _constant(node)
        if constant is None:
            continue
        weights = pruned(np.asarray(constant.data, np.float32), share)
        _replace(constant, ov.opset13.constant(weights))
        zero, total = zero + int((weights == 0).sum()), total + weights.size
    model.validate_nodes_and_infer_types()
    return zero / total if total else 0.0


def pruned(weights: npt.NDArray[np.float32], share: float) -> npt.NDArray[np.float32]:
    """The smallest ``share`` of the weights by magnitude set to 0 (Han et al. 2015, without retraining)."""
    count = int(share * weights.size)
    if not count:
        return weights.copy()
    out = weights.copy()
    out.reshape(-1)[np.argsort(np.abs(weights), axis=None, kind="stable")[:count]] = 0
    return out


def to_bfloat16(ov: Any, model: Any) -> None:
    """Stores each kernel in bfloat16, rounded to nearest; it is widened when the model is loaded."""
    ops = ov.opset13
    for node in model.get_ordered_ops():
        constant = _constant(node)
        if constant is not None:
            narrow = ops.constant(rounded(np.asarray(constant.data, np.float32)), dtype=ov.Type.bf16)
            _replace(constant, ops.convert(narrow, "f32"))
    model.validate_nodes_and_infer_types()


def rounded(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """To the nearest bfloat16, ties to even, as float32."""
    bits = np.ascontiguousarray(weights).view(np.uint32)
    up = bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))
    return (up & np.uint32(0xFFFF0000)).view(np.float32)


def to_int8(ov: Any, model: Any) -> None:
    """Stores what :func:`segmodels.engines.quantise.quantise` rounds to 8 bits in 8 bits."""
    ops = ov.opset13
    for node in model.get_ordered_ops():
        if node.get_type_name() != "FakeQuantize":
            continue
        source = node.input_value(0).get_node()
        while source.get_type_name() == "Convert":
            source = source.input_value(0).get_node()
        if source.get_type_name() != "Constant":
            continue
        step = np.asarray(node.input_value(2).get_node().data, np.float32) / 127
        weights = np.asarray(source.data, np.float32)
        narrow = np.clip(np.rint(weights / step), -127, 127).astype(np.int8)
        wide = ops.multiply(ops.convert(ops.constant(narrow), "f32"), ops.constant(step))
        _replace(node, wide)
    model.validate_nodes_and_infer_types()


def _constant(node: Any) -> Any:
    """The float32 constant that is a convolution's kernel, or None."""
    if node.get_type_name() not in _KERNELS:
        return None
    source = node.input_value(1).get_node()
    while source.get_type_name() in ("Convert", "Reshape"):
        source = source.input_value(0).get_node()
    fits = source.get_type_name() == "Constant" and source.get_element_type().get_type_name() == "f32"
    return source if fits else None


def _replace(old: Any, new: Any) -> None:
    for reader in list(old.output(0).get_target_inputs()):
        reader.replace_source_output(new.output(0))
