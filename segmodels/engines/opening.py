"""Choosing an engine, opening it, and proving it right on the bundle's golden input."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np

from segmodels.bundles.bundle import Bundle, read_golden
from segmodels.engines.backend import Array, Backend, FixedEngine, compile_exactly
from segmodels.engines.base import Engine
from segmodels.errors import EngineError

EngineName = Literal["auto", "method", "tensorflow", "jax", "torch", "openvino"]
PrecisionName = Literal["auto", "float32", "bfloat16"]

#: Share of golden pixels whose class must agree, at any precision.
AGREEMENT = 0.998
#: Largest difference of a float32 logit, relative to the largest golden logit (at least 1).
TOLERANCE = 1e-3


def open_engine(
    bundle: Bundle,
    *,
    engine: str = "auto",
    precision: str = "auto",
    batch: int,
    tile: tuple[int, ...],
    verify: bool = True,
) -> Engine:
    """Loads the bundle's model for batches of one fixed shape.

    Args:
        bundle: A checked bundle.
        engine: ``auto``, ``method``, ``tensorflow``, ``jax``, ``torch`` or ``openvino``.
        precision: ``auto``, ``float32`` or ``bfloat16``; ``auto`` is bfloat16 where the hardware
            computes in it natively and the golden input agrees, else float32.
        batch: Tiles per batch.
        tile: Tile size, one per model axis, slowest first; multiples of the card's stride.
        verify: Whether the golden input must give the golden logits.

    Raises:
        EngineError: If the engine is not installed, cannot run the model, or disagrees with the
            golden logits.
        BundleError: If the model or the golden input cannot be read.
        ValueError: If ``batch`` or ``tile`` do not fit the card.
    """
    card = bundle.card
    if precision not in get_args(PrecisionName):
        raise EngineError(f"There is no precision {precision!r}; choose {_either(get_args(PrecisionName))}.")
    if batch < 1 or len(tile) not in card.ndims or any(t < 1 or t % card.stride for t in tile):
        axes = " or ".join(str(n) for n in card.ndims)
        raise ValueError(
            f"{card.name} takes tiles of {axes} axes, multiples of {card.stride}, in batches of at least 1; "
            f"not batch {batch}, tile {tile}"
        )
    name = choose_engine(bundle, engine)
    backend = _load(bundle, name, None if precision == "auto" else precision)
    problem = _disagreement(bundle, backend) if verify else None
    if problem is not None and precision == "auto" and backend.precision != "float32":
        backend = _load(bundle, name, "float32")
        problem = _disagreement(bundle, backend)
    if problem is not None:
        raise EngineError(
            f"{backend.library} at {backend.precision} disagrees with the golden input of {bundle.path}: "
            f"{problem}; choose another engine or precision."
        )
    shape = (batch, *tile, len(card.channels))
    run = compile_exactly(backend, shape)
    return FixedEngine(backend.name, backend.precision, backend.library, shape, card.logits, run)


def choose_engine(bundle: Bundle, engine: str = "auto") -> str:
    """Names the engine that ``engine`` means for this bundle on this machine; imports none.

    ``auto`` takes ``method`` for per-pixel methods and ``openvino`` for ONNX; for Keras models
    TensorFlow where an NVIDIA GPU is present, else OpenVINO where installed, else Keras on the library
    that ``KERAS_BACKEND`` names.

    Raises:
        EngineError: If there is no such engine, or it cannot run this kind of bundle.
    """
    if engine not in get_args(EngineName):
        raise EngineError(f"There is no engine {engine!r}; choose {_either(get_args(EngineName))}.")
    able = {
        "method": ("method",),
        "onnx": ("openvino",),
        "keras": ("tensorflow", "jax", "torch", "openvino"),
    }[bundle.kind]
    if engine != "auto":
        if engine not in able:
            raise EngineError(
                f"{bundle.card.name} holds {bundle.model_path.name}, which the engine {engine!r} cannot run; "
                f"choose {_either(('auto', *able))}."
            )
        return engine
    if len(able) == 1:
        return able[0]
    if _nvidia() and importlib.util.find_spec("tensorflow") is not None:
        return "tensorflow"
    if importlib.util.find_spec("openvino") is not None:
        return "openvino"
    asked = os.environ.get("KERAS_BACKEND", "")
    return asked if asked in ("tensorflow", "jax", "torch") else "tensorflow"


def disagreement(found: Array, golden: Array, *, precision: str) -> str | None:
    """Says how ``found`` logits differ from the golden ones, or None if they are near enough."""
    if not np.isfinite(found).all():
        return "some logits are not finite"
    same = float(np.mean(_classes(found) == _classes(golden)))
    if same < AGREEMENT:
        return f"{same:.2%} of its classes agree, {AGREEMENT:.1%} must"
    if precision == "float32":
        worst = float(np.abs(found - golden).max())
        bound = TOLERANCE * max(1.0, float(np.abs(golden).max()))
        if worst > bound:
            return f"a logit differs by {worst:.2g}, at most {bound:.2g} may"
    return None


def _load(bundle: Bundle, name: str, precision: str | None) -> Backend:
    exact = cast("Literal['float32', 'bfloat16'] | None", precision)
    if name == "method":
        from segmodels.engines.on_numpy import NumpyBackend

        return NumpyBackend(bundle, precision=exact)
    if name == "openvino":
        from segmodels.engines.on_openvino import OpenVinoBackend

        return OpenVinoBackend(bundle, precision=exact)
    from segmodels.engines.on_keras import KerasBackend, Library

    return KerasBackend(bundle, cast("Library", name), precision=exact)


def _disagreement(bundle: Bundle, backend: Backend) -> str | None:
    # The golden input is small, so a second compilation at its own shape costs little.
    x, golden = read_golden(bundle)
    found = backend.compile(x.shape)(np.ascontiguousarray(x))
    if found.shape != golden.shape:
        return f"it answers with shape {found.shape}, not {golden.shape}"
    return disagreement(found, golden, precision=backend.precision)


def _classes(logits: Array) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    if logits.shape[-1] == 1:
        return (logits[..., 0] > 0).astype(np.intp)
    return np.asarray(np.argmax(logits, axis=-1), np.intp)


def _nvidia() -> bool:
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1") or sys.platform == "darwin":
        return False
    return Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None


def _either(names: tuple[str, ...]) -> str:
    return ", ".join(names[:-1]) + f" or {names[-1]}"
