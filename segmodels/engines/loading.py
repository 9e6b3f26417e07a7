"""Which engines there are, loading a model into one, and proving it right on the bundle's golden input."""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError, version
from typing import Literal, cast, get_args

import numpy as np

from segmodels.bundles.bundle import Bundle, read_golden
from segmodels.engines.backend import Array, Backend
from segmodels.errors import EngineError

EngineName = Literal["auto", "method", "tensorflow", "jax", "torch", "openvino", "onnx"]
PrecisionName = Literal["auto", "float32", "bfloat16", "int8"]

#: The engines that can run each kind of bundle.
ABLE: dict[str, tuple[str, ...]] = {
    "method": ("method",),
    "onnx": ("openvino", "onnx"),
    "openvino": ("openvino",),
    "keras": ("tensorflow", "jax", "torch", "openvino"),
}
#: The package that each engine needs.
PACKAGES = {
    "method": "numpy",
    "tensorflow": "tensorflow",
    "jax": "jax",
    "torch": "torch",
    "openvino": "openvino",
    "onnx": "onnxruntime",
}
#: Largest difference of a float32 logit, relative to the largest golden logit (at least 1).
TOLERANCE = 1e-3


def check_names(bundle: Bundle, engine: str, precision: str) -> None:
    """Refuses names that do not exist, and engines that cannot run this kind of bundle.

    Raises:
        EngineError: Says what can be chosen instead.
    """
    if engine not in get_args(EngineName):
        raise EngineError(f"There is no engine {engine!r}; choose {_either(get_args(EngineName))}.")
    if precision not in get_args(PrecisionName):
        raise EngineError(f"There is no precision {precision!r}; choose {_either(get_args(PrecisionName))}.")
    able = able_engines(bundle)
    if bundle.card.precision and precision not in ("auto", bundle.card.precision):
        raise EngineError(
            f"{bundle.card.name} holds a model that was brought to {bundle.card.precision}; ask for precision auto, "
            "or use the bundle it was made from."
        )
    if engine not in ("auto", *able):
        raise EngineError(
            f"{bundle.card.name} holds {bundle.model_path.name}, which the engine {engine!r} cannot run; "
            f"choose {_either(('auto', *able))}."
        )


def able_engines(bundle: Bundle) -> tuple[str, ...]:
    """Engines that can run a bundle; of an ensemble every member, of two stages the fine one."""
    if bundle.kind == "two-stage":
        from segmodels.bundles.stages import read_stages

        return able_engines(read_stages(bundle).fine)
    if bundle.kind != "ensemble":
        return ABLE[bundle.kind]
    from segmodels.bundles.ensemble import read_members

    first, *others = (ABLE[member.kind] for member in read_members(bundle))
    return tuple(name for name in first if all(name in other for other in others))


def installed(engine: str) -> bool:
    """Whether the package that an engine needs is installed; imports nothing."""
    return importlib.util.find_spec(PACKAGES[engine]) is not None


def library_version(engine: str) -> str:
    """Version of an engine's package, or an empty string if it does not say."""
    try:
        return version(PACKAGES[engine])
    except PackageNotFoundError:
        return ""


def load_backend(bundle: Bundle, name: str, precision: str, *, callers: int = 1) -> Backend:
    """Loads the bundle's model into one library.

    Args:
        bundle: A checked bundle.
        name: An engine that can run it, not ``auto``.
        precision: ``float32``, ``bfloat16`` or ``int8``.
        callers: Threads that will run it; a library may serve fewer at once.

    Raises:
        EngineError: If the library is missing or cannot run the model so.
        BundleError: If the model cannot be read.
    """
    if bundle.kind == "ensemble":
        from segmodels.bundles.ensemble import read_members
        from segmodels.engines.ensemble import EnsembleBackend

        members = [load_backend(member, name, precision, callers=callers) for member in read_members(bundle)]
        return EnsembleBackend(members, sigmoid=bundle.card.activation == "sigmoid")
    if bundle.kind == "two-stage":
        from segmodels.bundles.stages import read_stages

        return load_backend(read_stages(bundle).fine, name, precision, callers=callers)
    if name == "openvino":
        from segmodels.engines import on_openvino

        return on_openvino.OpenVinoBackend(
            bundle, precision=cast("on_openvino.Precision", precision), callers=callers
        )
    if precision == "int8":
        able = "the engine openvino, or " if "openvino" in able_engines(bundle) else ""
        raise EngineError(f"The engine {name!r} does not compute in int8; choose {able}another precision.")
    exact = cast("Literal['float32', 'bfloat16']", precision)
    if name == "method":
        from segmodels.engines.on_numpy import NumpyBackend

        return NumpyBackend(bundle, precision=exact, callers=callers)
    if name == "onnx":
        from segmodels.engines.on_onnx import OnnxBackend

        return OnnxBackend(bundle, precision=exact)
    from segmodels.engines.on_keras import KerasBackend, Library

    return KerasBackend(bundle, cast("Library", name), precision=exact)


def golden_problem(bundle: Bundle, backend: Backend) -> str | None:
    """Runs the golden input; says how the answer differs, or None if it is near enough.

    Raises:
        EngineError: If the library cannot run it at all.
        BundleError: If the golden input cannot be read.
    """
    # The golden input is small, so a second compilation at its own shape costs little.
    x, golden = read_golden(bundle)
    found = backend.compile(x.shape)(np.ascontiguousarray(x))
    if found.shape != golden.shape:
        return f"it answers with shape {found.shape}, not {golden.shape}"
    return disagreement(found, golden, precision=backend.precision, agreement=bundle.card.agreement)


def disagreement(found: Array, golden: Array, *, precision: str, agreement: float = 0.998) -> str | None:
    """Says how ``found`` logits differ from the golden ones, or None if they are near enough.

    Args:
        found: Logits of an engine.
        golden: Logits of the bundle, of the same shape.
        precision: At ``float32`` the logits themselves must agree too.
        agreement: Least share of pixels whose class must agree, at any precision.
    """
    if not np.isfinite(found).all():
        return "some logits are not finite"
    same = float(np.mean(_classes(found) == _classes(golden)))
    if same < agreement:
        return f"{same:.2%} of its classes agree, {agreement:.1%} must"
    if precision == "float32":
        worst = float(np.abs(found - golden).max())
        bound = TOLERANCE * max(1.0, float(np.abs(golden).max()))
        if worst > bound:
            return f"a logit differs by {worst:.2g}, at most {bound:.2g} may"
    return None


def _classes(logits: Array) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    if logits.shape[-1] == 1:
        return (logits[..., 0] > 0).astype(np.intp)
    return np.asarray(np.argmax(logits, axis=-1), np.intp)


def _either(names: tuple[str, ...]) -> str:
    return ", ".join(names[:-1]) + f" or {names[-1]}"
