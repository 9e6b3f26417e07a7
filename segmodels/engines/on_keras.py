"""Engines on Keras 3: TensorFlow (the reference), JAX and torch."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Literal

import numpy as np

from segmodels.bundles.bundle import Bundle
from segmodels.bundles.keras_file import load_keras_file
from segmodels.engines.backend import Array, Batching, Run
from segmodels.engines.folding import fold_batch_norm
from segmodels.engines.hardware import cpu_bfloat16
from segmodels.errors import EngineError

Library = Literal["tensorflow", "jax", "torch"]
Precision = Literal["float32", "bfloat16"]


def use_keras(library: Library) -> Any:
    """Imports Keras on ``library`` and returns the module ``keras``.

    Raises:
        EngineError: If the library is not installed, or Keras already runs on another one.
    """
    if "keras" not in sys.modules:
        if importlib.util.find_spec(library) is None:
            raise EngineError(
                f"The engine {library!r} needs the package {library}, which is not installed; "
                "install it or choose another engine."
            )
        os.environ["KERAS_BACKEND"] = library
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    running = keras.backend.backend()
    if running != library:
        raise EngineError(
            f"Keras already runs on {running} in this process, so the engine {library!r} cannot be opened; "
            f"start a new process, with KERAS_BACKEND={library} if something else imports Keras first."
        )
    return keras


class KerasBackend:
    """A Keras model called directly, never through ``predict()``, which retraces and is slow."""

    def __init__(self, bundle: Bundle, library: Library, *, precision: Precision | None = None) -> None:
        use_keras(library)
        self.name: str = library
        gpus, fast = _prepare_gpus(library)
        # Seen with TensorFlow on CPUs: the place in the batch changes the last bits.
        self.batching: Batching = "probe" if gpus else "single"
        self.callers = 1
        self.precision: str = precision or ("bfloat16" if fast else "float32")
        policy = "mixed_bfloat16" if self.precision == "bfloat16" else "float32"
        model = load_keras_file(bundle.model_path, policy=policy)
        _check_channels(model, bundle)
        self._model = fold_batch_norm(model)
        self.library = f"{library} {version(library)}, keras {version('keras')}"

    def compile(self, shape: tuple[int, ...]) -> Run:
        """Traces the model once for ``shape``."""
        build = {"tensorflow": _on_tensorflow, "jax": _on_jax, "torch": _on_torch}[self.name]
        return build(self._model, shape)

    def bare(self, shape: tuple[int, ...]) -> Callable[[], object]:
        """One run on an input that lies where the model computes, waited for, its output left there."""
        build = {"tensorflow": _bare_tensorflow, "jax": _bare_jax, "torch": _bare_torch}[self.name]
        return build(self._model, shape)


def devices(library: str) -> list[str]:
    """What a library can compute on, by its own names, the GPUs by their models."""
    if library == "torch":
        import torch

        return ["cpu", *(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))]
    if library == "jax":
        import jax

        return [f"{d.platform}:{d.id} {d.device_kind}" for d in jax.devices()]
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    names = [str(tf.config.experimental.get_device_details(g).get("device_name", g.name)) for g in gpus]
    return ["CPU", *names]


def _prepare_gpus(library: str) -> tuple[bool, bool]:
    """Sets GPUs to exact, repeatable work; whether there are any, and whether bfloat16 is fast here."""
    if library == "torch":
        import torch

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        found = bool(torch.cuda.is_available())
        return found, bool(torch.cuda.is_bf16_supported()) if found else cpu_bfloat16()
    if library == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
        return jax.default_backend() == "gpu", False
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            break  # TensorFlow has already started on the GPUs: what it took, it keeps
    if gpus:
        # TensorFloat-32 would make "float32" a tenth as exact; autotuned kernels differ from run to run.
        tf.config.experimental.enable_tensor_float_32_execution(False)
        tf.config.experimental.enable_op_determinism()
    else:
        return False, cpu_bfloat16()
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    return True, all(d.get("compute_capability", (0, 0)) >= (8, 0) for d in details)


def _check_channels(model: Any, bundle: Bundle) -> None:
    card, inputs, outputs = bundle.card, model.input_shape, model.output_shape
    if not isinstance(inputs, tuple) or inputs[-1] != len(card.channels) or outputs[-1] != card.logits:
        raise EngineError(
            f"{bundle.model_path} maps {inputs} to {outputs}, but its card says {len(card.channels)} "
            f"channels and {card.logits} logits; write the bundle again with a card that fits."
        )


def _traced(model: Any, shape: tuple[int, ...]) -> Any:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)], autograph=False)
    def call(x: Any) -> Any:
        return tf.cast(model(x, training=False), tf.float32)

    return call.get_concrete_function()


def _on_tensorflow(model: Any, shape: tuple[int, ...]) -> Run:
    import tensorflow as tf

    traced = _traced(model, shape)

    def run(batch: Array) -> Array:
        # .numpy() may share TensorFlow's buffer; the caller is promised an array of its own.
        return np.array(traced(tf.constant(batch)).numpy())

    return run


def _bare_tensorflow(model: Any, shape: tuple[int, ...]) -> Callable[[], object]:
    import tensorflow as tf

    traced, x = _traced(model, shape), tf.random.stateless_normal(shape, (0, 0))
    corner = (0,) * len(shape)
    return lambda: traced(x)[corner].numpy()  # one number is fetched, so that the run is over


def _compiled(model: Any, shape: tuple[int, ...]) -> Callable[[Any], Any]:
    import jax

    trainable = [v.value for v in model.trainable_variables]
    fixed = [v.value for v in model.non_trainable_variables]

    @jax.jit
    def call(trainable: Any, fixed: Any, x: Any) -> Any:
        out, _ = model.stateless_call(trainable, fixed, x, training=False)
        return out.astype("float32")

    compiled = call.lower(trainable, fixed, jax.ShapeDtypeStruct(shape, np.float32)).compile()
    return lambda x: compiled(trainable, fixed, x)


def _on_jax(model: Any, shape: tuple[int, ...]) -> Run:
    compiled = _compiled(model, shape)
    return lambda batch: np.array(compiled(batch))


def _bare_jax(model: Any, shape: tuple[int, ...]) -> Callable[[], object]:
    import jax

    compiled, x = _compiled(model, shape), jax.random.normal(jax.random.key(0), shape)
    return lambda: compiled(x).block_until_ready()


def _on_torch(model: Any, shape: tuple[int, ...]) -> Run:
    import torch
    from keras.backend import get_device  # where this backend put the weights

    def run(batch: Array) -> Array:
        with torch.inference_mode():
            x = torch.from_numpy(batch).to(get_device())
            return np.array(model(x, training=False).float().cpu().numpy())

    return run


def _bare_torch(model: Any, shape: tuple[int, ...]) -> Callable[[], object]:
    import torch
    from keras.backend import get_device

    x = torch.randn(shape, device=get_device())

    def run() -> None:
        with torch.inference_mode():
            model(x, training=False)
        if x.is_cuda:
            torch.cuda.synchronize()

    return run
