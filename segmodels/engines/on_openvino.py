"""The engine on OpenVINO: the fast one on CPUs, and the one that reads ``model.onnx``.

A Keras model is converted once per bundle and OpenVINO version, by a process of its own,
so that a run needs neither TensorFlow's start-up time nor its memory.
"""

from __future__ import annotations

import importlib.util
import os
import queue
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from segmodels.bundles.bundle import Bundle, read_golden
from segmodels.engines.backend import Array, Batching, Run
from segmodels.engines.hardware import cpu_count
from segmodels.engines.layout import Layout, find_layout
from segmodels.engines.quantise import quantise
from segmodels.engines.threads import model_threads
from segmodels.errors import EngineError

Precision = Literal["float32", "bfloat16", "int8"]


def import_openvino() -> Any:
    """Imports openvino with its telemetry off.

    Raises:
        EngineError: If it is not installed.
    """
    if importlib.util.find_spec("openvino") is None:
        raise EngineError(
            "The engine 'openvino' needs the package openvino, which is not installed; "
            "install segflow[openvino], or choose another engine."
        )
    # OpenVINO reports every import to its maker unless this optional module is absent;
    # None in sys.modules is Python's way to make an import fail.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


class OpenVinoBackend:
    """A model compiled for the CPU, with OpenVINO's default number of threads.

    Each caller has a request and a share of the threads of its own, at most one caller a core: callers
    then never wait for one another inside a layer. Neither changes a bit of the answer.
    """

    name = "openvino"

    def __init__(self, bundle: Bundle, *, precision: Precision | None = None, callers: int = 1) -> None:
        ov = import_openvino()
        self.callers = max(1, min(callers, model_threads() or cpu_count()))
        self._core = ov.Core()
        native = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bfloat16" and not native:
            raise EngineError(
                "This processor does not compute in bfloat16 itself; ask for precision auto or float32."
            )
        self.precision: str = precision or ("bfloat16" if native else "float32")
        self.library = f"openvino {version('openvino')}"
        self._channels = len(bundle.card.channels)
        self._file = converted(bundle) if bundle.kind == "keras" else bundle.model_path
        try:
            model = self._core.read_model(self._file)
        except RuntimeError as error:
            remedy = (
                "export it again"
                if bundle.kind != "keras"
                else f"delete the folder {self._file.parent} and retry"
            )
            raise EngineError(
                f"OpenVINO cannot read {self._file} ({_last_line(str(error))}); {remedy}."
            ) from error
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise EngineError(
                f"{self._file} has {len(model.inputs)} inputs and {len(model.outputs)} outputs; "
                "a bundle's model has one of each."
            )
        self._layout = find_model_layout(model, bundle)
        # A model of one batch size may hold that size inside, where it cannot be changed.
        whole = model.input(0).partial_shape[0].is_dynamic
        self.batching: Batching = "probe" if whole else "single"
        self._quantised: Any = None
        if precision == "int8" and bundle.card.precision != "int8":
            golden, _ = read_golden(bundle)
            quantise(ov, model, [self._layout.enter(golden)])
            self._quantised = model
        # What int8 leaves in floating point is computed as fast as the processor can.
        narrow = self.precision == "bfloat16" or (self.precision == "int8" and native)
        self._hint = ov.Type.bf16 if narrow else ov.Type.f32

    def compile(self, shape: tuple[int, ...]) -> Run:
        """Fixes the model's shape and compiles it.

        Raises:
            EngineError: If the model cannot take that shape.
        """
        compiled = self._compiled(shape)
        layout = self._layout
        free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(self.callers):
            free.put(compiled.create_infer_request())

        def run(batch: Array) -> Array:
            request = free.get()
            try:
                request.infer({0: layout.enter(batch)}, share_inputs=True)
                # The request reuses its buffer; the caller is promised an array of its own.
                return layout.leave(request.get_output_tensor(0).data)
            finally:
                free.put(request)

        return run

    def bare(self, shape: tuple[int, ...]) -> Callable[[], object]:
        """One inference over the request's own buffers."""
        request = self._compiled(shape).create_infer_request()
        tensor = request.get_input_tensor(0)
        tensor.data[...] = np.random.default_rng(0).normal(size=tensor.data.shape)
        return lambda: request.infer()

    def _compiled(self, shape: tuple[int, ...]) -> Any:
        ov = import_openvino()
        # Read again for every shape: it is quick, and reshaping changes the model for good.
        model = self._core.read_model(self._file) if self._quantised is None else self._quantised.clone()
        wanted = list(self._layout.shape(shape))
        options = {"INFERENCE_PRECISION_HINT": self._hint, "PERFORMANCE_HINT": "LATENCY"}
        if self.callers > 1:
            options |= {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": self.callers}
        if threads := model_threads():
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            model.reshape(ov.PartialShape(wanted))
            return self._core.compile_model(model, "CPU", options)
        except RuntimeError as error:
            raise EngineError(
                f"OpenVINO cannot run {self._file.name} on batches of shape {shape} "
                f"({_last_line(str(error))}); choose another tile, or the engine tensorflow."
            ) from error


def converted(bundle: Bundle) -> Path:
    """The OpenVINO form of a Keras bundle, from the user's cache or made now.

    It keeps the model's free batch and tile size, so that one file serves every tile.

    Raises:
        EngineError: If it cannot be made.
    """
    from filelock import FileLock
    from platformdirs import user_cache_dir

    cache = Path(user_cache_dir("segflow")) / "openvino"
    # No colon: some file systems take none in a name.
    folder = cache / f"{bundle.digest.replace(':', '-')}-{version('openvino')}"
    file = folder / "model.xml"
    if file.is_file():
        return file
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # Many workers may start at once; one converts, the others wait for it.
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if not file.is_file():
                temporary = Path(tempfile.mkdtemp(prefix=".converting-", dir=cache))
                try:
                    _convert(bundle, temporary / "model.xml")
                    temporary.rename(folder)
                finally:
                    shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise EngineError(
            f"The converted model cannot be stored under {cache} ({error.strerror}); "
            "make that folder writable."
        ) from error
    return file


def _convert(bundle: Bundle, file: Path) -> None:
    import segmodels

    if importlib.util.find_spec("tensorflow") is None:
        raise EngineError(
            "The engine 'openvino' needs tensorflow once, to convert a Keras model; install tensorflow."
        )
    paths = [str(Path(segmodels.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "-1",  # converting needs no GPU, and must not take its memory
        "KERAS_BACKEND": "tensorflow",
        "PYTHONPATH": os.pathsep.join(p for p in paths if p),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    # -P: files in the working directory must not stand for modules of the same name.
    command = [
        sys.executable,
        "-P",
        "-m",
        "segmodels.engines.convert",
        str(bundle.path),
        bundle.digest,
        str(file),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EngineError(
            f"{bundle.card.name} cannot be converted for OpenVINO ({_last_line(done.stderr)}); "
            "choose the engine tensorflow."
        )


def find_model_layout(model: Any, bundle: Bundle) -> Layout:
    """A converted Keras model has its channels last; an ONNX model says itself where."""
    if bundle.kind == "keras":
        return Layout()
    shapes = (model.input(0).partial_shape, model.output(0).partial_shape)
    inputs, outputs = ([d.get_length() if d.is_static else None for d in shape] for shape in shapes)
    return find_layout(inputs, outputs, channels=len(bundle.card.channels), logits=bundle.card.logits)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
