"""Writing a bundle: model, golden input and card appear together or not at all."""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segmodels.bundles.bundle import (
    CARD,
    GOLDEN,
    WEIGHTS,
    Bundle,
    bundle_digest,
    file_digest,
    load_bundle,
    read_golden,
)
from segmodels.bundles.card import Card
from segmodels.engines.backend import Backend, Run, compile_exactly
from segmodels.engines.loading import installed
from segmodels.errors import BundleError
from segmodels.methods.base import BaseMethod
from segmodels.methods.method import read_method
from segmodels.receptive import PIXELS, receptive_radius
from segmodels.supervision import plain


def write_bundle(
    directory: str | Path,
    *,
    card: Card,
    model: Any = None,
    method: BaseMethod | None = None,
    onnx: str | Path | None = None,
    openvino: str | Path | None = None,
    golden_input: npt.NDArray[np.float32],
    overwrite: bool = False,
) -> Bundle:
    """Writes a bundle and loads it back.

    The golden logits are computed in float32, on the CPU, by the model as read back from disk: by Keras, by
    OpenVINO for ONNX, by numpy for a method. The same model's receptive radius is measured, unless the card
    gives one.

    Args:
        directory: The bundle's folder; it must not exist, unless ``overwrite``.
        card: Its card; ``digests`` are filled in here.
        model: A Keras model whose input is ``(None, None, …, channels)``, of several outputs the first
            alone; exactly one of ``model``, ``method``, ``onnx`` and ``openvino`` is given.
        method: A formula or a classical method.
        onnx: An ONNX file without external data, channels first or last.
        openvino: An OpenVINO model's ``.xml``, with its ``.bin`` beside it.
        golden_input: One or two small inputs, normalised, ``(b, *tile, channels)`` float32.
        overwrite: Whether an existing bundle is replaced.

    Raises:
        BundleError: If the folder exists, or model, card and golden input do not fit together.
    """
    target = Path(directory).absolute()
    if sum(given is not None for given in (model, method, onnx, openvino)) != 1:
        raise BundleError("A bundle holds a model, a method or a file; give exactly one of them.")
    if model is not None:
        model = plain(model)  # what a training needs besides is no part of a bundle
    _check(target, card, model, method, golden_input, overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        folder.chmod(0o755)  # mkdtemp makes it private; a bundle is to be shared
        if method is not None:
            file = folder / "method.json"
            file.write_text(method.model_dump_json(indent=2) + "\n", encoding="utf-8")
            run: Run = method.logits
        elif onnx is not None:
            file = folder / "model.onnx"
            shutil.copyfile(onnx, file)
            run = reference_onnx(Bundle(folder, card, "onnx", ""))
        elif openvino is not None:
            file = folder / "model.xml"
            shutil.copyfile(openvino, file)
            shutil.copyfile(Path(openvino).with_suffix(".bin"), folder / WEIGHTS)
            run = reference_onnx(Bundle(folder, card, "openvino", ""))
        else:
            file = folder / "model.keras"
            model.save(file)
            run = _reference(file)
        logits = run(np.ascontiguousarray(golden_input))
        if logits.shape != (*golden_input.shape[:-1], card.logits):
            raise BundleError(
                f"The model answers with shape {logits.shape}, but the card of {card.name} promises "
                f"{card.logits} logits; correct the card."
            )
        np.savez_compressed(folder / GOLDEN, input=golden_input, logits=logits)
        beside = (WEIGHTS,) if openvino is not None else ()
        digests = {name: file_digest(folder / name) for name in (GOLDEN, file.name, *beside)}
        radius = card.receptive_radius or _radius(card, run, golden_input, method)
        card = card.model_copy(update={"digests": digests, "receptive_radius": radius})
        (folder / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
        checked = load_bundle(folder)
        place(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Bundle(target.resolve(), checked.card, checked.kind, bundle_digest(target, checked.card))


def _check(
    target: Path,
    card: Card,
    model: Any,
    method: BaseMethod | None,
    golden: npt.NDArray[np.float32],
    overwrite: bool,
) -> None:
    if target.exists() and not (overwrite and (target / CARD).is_file()):
        raise BundleError(
            f"{target} already exists; choose another folder, or overwrite a bundle on purpose."
        )
    if (
        golden.dtype != np.float32
        or golden.ndim - 2 not in card.ndims
        or golden.shape[-1] != len(card.channels)
    ):
        raise BundleError(
            f"The golden input is {golden.dtype}{golden.shape}, but {card.name} takes float32 "
            f"(b, *tile, {len(card.channels)}); give such an array."
        )
    if not 1 <= len(golden) <= 2 or not golden.size or any(n % card.stride for n in golden.shape[1:-1]):
        raise BundleError(
            f"The golden input has shape {golden.shape}; give one or two inputs whose sides are multiples "
            f"of {card.stride}."
        )
    if method is not None:
        try:
            method.check(card)
        except ValueError as error:
            raise BundleError(f"The method does not fit the card of {card.name}: {error}.") from error
    elif model is not None and any(n is not None for n in model.input_shape[:-1]):
        raise BundleError(
            f"The model's input is {model.input_shape}, but a bundle's model takes any batch and tile; "
            f"build it with input shape {(*[None] * (golden.ndim - 2), golden.shape[-1])}."
        )


def measure_bundle(path: str | Path) -> Bundle:
    """Measures the receptive radius of a bundle that exists and writes it into its card, nothing else.

    Raises:
        BundleError: If the bundle is refused.
        EngineError: If its model needs a library that is not installed.
    """
    bundle = load_bundle(path)
    golden, _ = read_golden(bundle)
    method = read_method(bundle.model_path, bundle.card) if bundle.kind == "method" else None
    radius = _radius(bundle.card, reference_of(bundle), golden, method)
    return rewrite_card(bundle, receptive_radius=radius)


def rewrite_card(bundle: Bundle, **changes: Any) -> Bundle:
    """Changes fields of a bundle's card, nothing else, in one step; the bundle gets another digest."""
    card = bundle.card.model_copy(update=changes)
    new = bundle.path / f".{CARD}"
    new.write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    new.replace(bundle.path / CARD)
    return load_bundle(bundle.path)


def _radius(
    card: Card, run: Run, golden: npt.NDArray[np.float32], method: BaseMethod | None
) -> tuple[int, ...] | None:
    if method is not None:
        return (method.halo,) * len(card.tile)
    if card.fixed_tile and math.prod(card.tile) > PIXELS:
        return None  # too large to measure, and no smaller tile can be run
    # A golden input of fewer axes than the tile says nothing about the others.
    tile = card.tile[-(golden.ndim - 2) :]
    radius = receptive_radius(run, golden, tile=tile, stride=card.stride)
    return (0,) * (len(card.tile) - len(tile)) + radius


def reference_of(bundle: Bundle) -> Run:
    """A bundle's model in float32 on the CPU, against which engines are held.

    Raises:
        EngineError: It needs a library that is not installed.
    """
    if bundle.kind == "ensemble":
        from segmodels.bundles.ensemble import read_members
        from segmodels.engines.ensemble import averaged

        members = [reference_of(member) for member in read_members(bundle)]
        return averaged(members, sigmoid=bundle.card.activation == "sigmoid")
    if bundle.kind == "two-stage":
        from segmodels.bundles.stages import read_stages

        return reference_of(read_stages(bundle).fine)
    if bundle.kind in ("onnx", "openvino"):
        return reference_onnx(bundle)
    if bundle.kind == "keras":
        return _reference(bundle.model_path)
    return read_method(bundle.model_path, bundle.card).logits


def _reference(file: Path) -> Run:
    from segmodels.bundles.keras_file import load_keras_file

    return reference_keras(load_keras_file(file))


def reference_keras(model: Any) -> Run:
    """A Keras model in float32 on the CPU, as it is."""

    def run(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        import keras

        # On a GPU the same call may round through TensorFloat-32.
        with keras.device("cpu:0"):
            return np.asarray(keras.ops.convert_to_numpy(model(x, training=False)), np.float32)

    return run


def reference_onnx(bundle: Bundle) -> Run:
    """The model of an ONNX bundle in float32 on OpenVINO, or on ONNX Runtime where that is not installed."""
    backend: Backend
    if bundle.kind == "openvino" or installed("openvino") or not installed("onnx"):
        from segmodels.engines.on_openvino import OpenVinoBackend

        backend = OpenVinoBackend(bundle, precision="float32")
    else:
        from segmodels.engines.on_onnx import OnnxBackend

        backend = OnnxBackend(bundle, precision="float32")
    compiled: dict[tuple[int, ...], Run] = {}

    def run(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if x.shape not in compiled:
            compiled[x.shape] = compile_exactly(backend, x.shape)
        return compiled[x.shape](x)

    return run


def place(folder: Path, target: Path) -> None:
    """Gives a finished folder its final name; what has it already is replaced in one step."""
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
        target.rename(old / target.name)
        folder.rename(target)
        shutil.rmtree(old)
    else:
        folder.rename(target)
