"""The engine on ONNX Runtime, for bundles that hold ``model.onnx``; OpenVINO reads them too."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from segmodels.bundles.bundle import Bundle
from segmodels.engines.backend import Array, Batching, Run
from segmodels.engines.layout import find_layout
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
        card, self._input = bundle.card, inputs[0].name
        taken, given = ([d if isinstance(d, int) else None for d in t[0].shape] for t in (inputs, outputs))
        self._layout = find_layout(taken, given, channels=len(card.channels), logits=card.logits)
        self.batching: Batching = "probe" if taken[0] is None else "single"

    def compile(self, shape: tuple[int, ...]) -> Run:
        """Nothing to prepare: a session takes any shape that its model takes."""
        layout = self._layout

        def run(batch: Array) -> Array:
            try:
                (out,) = self._session.run(None, {self._input: layout.enter(batch)})
            except Exception as error:  # its exceptions share no base of their own
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise EngineError(
                    f"ONNX Runtime cannot run the model on batches of shape {batch.shape} ({reason}); "
                    "choose another tile."
                ) from error
            return layout.leave(out)

        return run

    def bare(self, shape: tuple[int, ...]) -> Callable[[], object]:
        """One run over arrays in the model's own layout."""
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        x = self._layout.enter(x[:1] if self.batching == "single" else x)
        return lambda: self._session.run(None, {self._input: x})
