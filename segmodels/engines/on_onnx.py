"""The engine on ONNX Runtime, for bundles that hold ``model.onnx``; OpenVINO reads them too."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from segmodels.bundles.bundle import Bundle
from segmodels.engines.backend import Array, Batching, Run
from segmodels.errors import EngineError

Precision = Literal["float32", "bfloat16"]


def import_onnxruntime() -> Any:
    """Imports onnxruntime.

    Raises:
        EngineError: If it is not installed.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise EngineError(
            "The engine 'onnx' needs the package onnxruntime, which is not installed; "
            "install segflow[onnx], or choose the engine openvino, which reads ONNX too."
        )
    import onnxruntime

    return onnxruntime


class OnnxBackend:
    """An ONNX model on the first of CUDA and CPU that this ONNX Runtime offers, at the model's own precision."""

    name = "onnx"
    precision = "float32"
    batching: Batching = "probe"
    callers = 1

    def __init__(self, bundle: Bundle, *, precision: Precision | None = None) -> None:
        ort = import_onnxruntime()
        if precision == "bfloat16":
            raise EngineError(
                "ONNX Runtime computes a model as it was exported; ask for precision auto or float32, "
                "or choose the engine openvino."
            )
        self.library = f"onnxruntime {ort.__version__}"
        options = ort.SessionOptions()
        options.use_deterministic_compute = True
        options.log_severity_level = 3
        offered = ort.get_available_providers()
        providers = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in offered]
        try:
            self._session = ort.InferenceSession(bundle.model_path, options, providers=providers)
        except Exception as error:  # its exceptions share no base of their own
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise EngineError(
                f"ONNX Runtime cannot read {bundle.model_path} ({reason}); export it again."
            ) from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise EngineError(
                f"{bundle.model_path} has {len(inputs)} inputs and {len(outputs)} outputs; "
                "a bundle's model has one of each."
            )
        channels = len(bundle.card.channels)
        self._input = inputs[0].name
        self._first = inputs[0].shape[-1] != channels and inputs[0].shape[1] == channels

    def compile(self, shape: tuple[int, ...]) -> Run:
        """Nothing to prepare: a session takes any shape that its model takes."""
        first = self._first

        def run(batch: Array) -> Array:
            x = np.ascontiguousarray(np.moveaxis(batch, -1, 1)) if first else batch
            (out,) = self._session.run(None, {self._input: x})
            return np.array(np.moveaxis(out, 1, -1) if first else out, np.float32, order="C")

        return run

    def bare(self, shape: tuple[int, ...]) -> Callable[[], object]:
        """One run over arrays in the model's own layout."""
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        x = np.ascontiguousarray(np.moveaxis(x, -1, 1)) if self._first else x
        return lambda: self._session.run(None, {self._input: x})
