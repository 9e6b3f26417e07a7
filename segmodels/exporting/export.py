"""Exporting a bundle's model, and running the file that came out on the golden input before it gets its name."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from segmodels.bundles.bundle import Bundle, load_bundle, read_golden
from segmodels.bundles.keras_file import load_keras_file
from segmodels.engines.backend import Array
from segmodels.engines.layout import find_layout
from segmodels.engines.loading import disagreement
from segmodels.errors import BundleError, EngineError

Target = Literal["onnx", "savedmodel", "openvino"]

#: What can be made of each kind of bundle.
_POSSIBLE: dict[str, tuple[Target, ...]] = {
    "keras": ("onnx", "savedmodel", "openvino"),
    "onnx": ("onnx", "openvino"),
    "openvino": ("openvino",),
}


@dataclass(frozen=True)
class Exported:
    """A file of another library.

    Attributes:
        path: The ``.onnx`` or ``.xml`` file (its weights lie in the ``.bin`` beside it), or the folder.
        worst: Largest difference of a golden logit.
        classes: Share of golden pixels with the same class.
        input: What it takes, for people.
    """

    path: Path
    worst: float
    classes: float
    input: str


def export_bundle(path: str | Path, *, to: str, out: Path) -> Exported:
    """Exports a bundle's model; normalisation is not part of it, as its card says.

    Args:
        path: A bundle.
        to: ``onnx``, ``savedmodel`` or ``openvino``.
        out: A file that ends in ``.onnx`` or ``.xml``, or a new folder for a SavedModel.

    Raises:
        BundleError: This kind of bundle cannot become that, the name is taken or wrong, or what came out
            disagrees with the golden input.
        EngineError: A library is missing; says what to install.
    """
    bundle = load_bundle(path)
    target = _check(bundle, to, out)
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        made = folder / out.name
        {"onnx": _onnx, "savedmodel": _saved_model, "openvino": _openvino}[target](bundle, made)
        golden, logits = read_golden(bundle)
        found, takes = (
            _run_saved_model(made, golden) if target == "savedmodel" else _run(made, golden, bundle)
        )
        problem = (
            f"it answers with shape {found.shape}"
            if found.shape != logits.shape
            else disagreement(found, logits, precision="float32", agreement=bundle.card.agreement)
        )
        if problem is not None:
            raise BundleError(
                f"The {to} export of {bundle.card.name} disagrees with its golden input: {problem}; nothing was "
                "written, choose another format."
            )
        for file in sorted(folder.iterdir()):
            file.rename(out.parent / file.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    same = found > 0 if logits.shape[-1] == 1 else found.argmax(-1)
    wanted = logits > 0 if logits.shape[-1] == 1 else logits.argmax(-1)
    return Exported(out, float(np.abs(found - logits).max()), float(np.mean(same == wanted)), takes)


def _check(bundle: Bundle, to: str, out: Path) -> Target:
    if to not in get_args(Target):
        raise BundleError(f"--to {to} is not one of {', '.join(get_args(Target))}; choose one of them.")
    possible = _POSSIBLE.get(bundle.kind, ())
    if to not in possible:
        able = (
            f"it can become {' or '.join(possible)}" if possible else "export a bundle that holds one network"
        )
        raise BundleError(
            f"{bundle.card.name} holds {bundle.model_path.name}, which cannot become {to}; {able}."
        )
    suffix = {"onnx": ".onnx", "openvino": ".xml", "savedmodel": ""}[to]
    if suffix and out.suffix != suffix:
        raise BundleError(f"--out {out} must end in {suffix}; rename it.")
    for taken in (out, out.with_suffix(".bin")) if to == "openvino" else (out,):
        if taken.exists():
            raise BundleError(f"{taken} exists; choose another --out, or remove it.")
    return to


def _loaded(bundle: Bundle) -> Any:
    from segmodels.engines.folding import fold_batch_norm
    from segmodels.engines.on_keras import use_keras

    use_keras("tensorflow")
    model = fold_batch_norm(load_keras_file(bundle.model_path))
    golden, _ = read_golden(bundle)
    model(golden[:1], training=False)  # Keras exports no model that was never called
    return model


def _onnx(bundle: Bundle, file: Path) -> None:
    if bundle.kind == "onnx":
        shutil.copyfile(bundle.model_path, file)
        return
    if importlib.util.find_spec("tf2onnx") is None:
        raise EngineError(
            "Exporting to ONNX needs the package tf2onnx, which is not installed; install segflow[export], or export "
            "to openvino or savedmodel."
        )
    _quietly(lambda: _loaded(bundle).export(str(file), format="onnx", verbose=False))


def _saved_model(bundle: Bundle, folder: Path) -> None:
    _quietly(lambda: _loaded(bundle).export(str(folder), format="tf_saved_model", verbose=False))


def _openvino(bundle: Bundle, file: Path) -> None:
    from segmodels.engines.on_openvino import converted, import_openvino

    ov = import_openvino()
    source = converted(bundle) if bundle.kind == "keras" else bundle.model_path
    ov.serialize(ov.Core().read_model(source), file)


def _quietly(work: Any) -> None:
    """Exporters print on standard output, where ``--json`` promises one object."""
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()):
        work()


def _run(file: Path, x: Array, bundle: Bundle) -> tuple[Array, str]:
    """The file on OpenVINO in float32, or on ONNX Runtime where only that is installed."""
    card = bundle.card
    if importlib.util.find_spec("openvino") is None:
        from segmodels.engines.on_onnx import import_onnxruntime

        session = import_onnxruntime().InferenceSession(file, providers=["CPUExecutionProvider"])
        (given,), (made,) = session.get_inputs(), session.get_outputs()
        sides = [[d if isinstance(d, int) else None for d in t.shape] for t in (given, made)]
        layout = find_layout(*sides, channels=len(card.channels), logits=card.logits)
        return layout.leave(session.run(None, {given.name: layout.enter(x)})[0]), _takes(given.name, sides[0])
    from segmodels.engines.on_openvino import import_openvino

    ov = import_openvino()
    model = ov.Core().read_model(file)
    given, made = model.input(0), model.output(0)
    sides = [
        [d.get_length() if d.is_static else None for d in shape]
        for shape in (given.partial_shape, made.partial_shape)
    ]
    layout = find_layout(*sides, channels=len(card.channels), logits=card.logits)
    model.reshape(ov.PartialShape(list(layout.shape(x.shape))))
    compiled = ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": ov.Type.f32})
    return layout.leave(compiled([layout.enter(x)])[0]), _takes(given.any_name, sides[0])


def _run_saved_model(folder: Path, x: Array) -> tuple[Array, str]:
    import tensorflow as tf

    with tf.device("/CPU:0"):
        loaded = tf.saved_model.load(str(folder))  # its weights live only as long as it does
        out = loaded.serve(tf.constant(x))
    return np.asarray(out, np.float32), _takes("serve", [*[None] * (x.ndim - 1), x.shape[-1]])


def _takes(name: str, sides: list[int | None]) -> str:
    return f"{name} ({', '.join('any' if n is None else str(n) for n in sides)}) float32"
