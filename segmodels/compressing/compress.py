"""A bundle made smaller: weights pruned, in bfloat16 or in 8-bit integers, with the loss measured into its card."""

from __future__ import annotations

import math
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segmodels.bundles.bundle import CARD, WEIGHTS, Bundle, load_bundle, read_golden
from segmodels.bundles.card import Derived
from segmodels.bundles.write import place, reference_of, rewrite_card, write_bundle
from segmodels.compressing.graph import prune, pruned, to_bfloat16, to_int8
from segmodels.engines.backend import Array, Run
from segmodels.engines.hardware import cpu_bfloat16, cpu_model
from segmodels.engines.measure import measure
from segmodels.engines.quantise import quantise
from segmodels.engines.variants import probabilities_of
from segmodels.errors import BundleError


def compress_bundle(
    path: str | Path,
    out: Path,
    *,
    to: str | None = None,
    prune_share: float = 0.0,
    calibration: Sequence[Array] = (),
    name: str | None = None,
    overwrite: bool = False,
    timed: bool = True,
) -> Bundle:
    """Writes a smaller bundle; its golden logits are its own, its card names the parent and what was lost.

    Args:
        path: A bundle that holds a Keras or ONNX model.
        out: The new bundle's folder.
        to: ``bf16`` or ``int8``: a model for OpenVINO, its kernels stored so; None keeps float32.
        prune_share: Share of each kernel's weights set to 0.
        calibration: Normalised tiles ``(1, *sides, channels)``, besides the golden input: int8 takes its ranges
            from them, and the loss is measured on all.
        name: Of the new bundle; by default the parent's with what was done.
        overwrite: Whether an existing bundle is replaced.
        timed: Whether the speed of both is measured.

    Raises:
        BundleError: The bundle cannot be compressed so.
        EngineError: OpenVINO is not installed.
    """
    parent = load_bundle(path)
    out = out.absolute()
    _check(parent, to, prune_share, out, overwrite)
    golden, _ = read_golden(parent)
    tiles = [golden[i : i + 1] for i in range(len(golden))] + list(calibration)
    words = [f"{prune_share:.0%} of each kernel's weights pruned by magnitude"] if prune_share else []
    words += {"bf16": ["kernels in bfloat16"], "int8": ["kernels and activations in int8"], None: []}[to]
    marks = (["pruned"] if prune_share else []) + ([to] if to else [])
    card = parent.card.model_copy(
        update={
            "name": name or "-".join((parent.card.name, *marks)),
            "precision": "int8" if to == "int8" else None,
            "digests": {},
            "scores": {},
            "derived": None,
        }
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as text:
        folder = Path(text)
        model: dict[str, Any]
        if to is None and parent.kind == "keras":
            model = {"model": _pruned_keras(parent, prune_share)}
        else:
            model = {"openvino": _converted(parent, to, prune_share, tiles, folder / "model.xml")}
        child = write_bundle(folder / "bundle", card=card, golden_input=golden, **model)
        if child.kind == "keras":
            child = _deflated(child)
        agreement, difference, pixels = loss(reference_of(parent), reference_of(child), tiles, parent)
        derived = Derived(
            parent=parent.digest,
            how=", ".join(words),
            agreement=agreement,
            difference=difference,
            pixels=pixels,
            size=_bytes(child) / _bytes(parent),
            speed=_speed(parent, child, to) if timed else None,
            machine=cpu_model() if timed else "",
        )
        child = rewrite_card(child, derived=derived)
        if out.exists() and not overwrite:
            raise BundleError(f"{out} appeared meanwhile; choose another folder.")
        child.path.chmod(0o755)
        place(child.path, out)
    return load_bundle(out)


def loss(before: Run, after: Run, tiles: Sequence[Array], parent: Bundle) -> tuple[float, float, int]:
    """Share of pixels with the same class, mean of ``½ Σ|p - p'|``, and how many pixels were compared."""
    sigmoid = parent.card.activation == "sigmoid"
    same = moved = 0.0
    pixels = 0
    for tile in tiles:
        p, q = (probabilities_of(run(tile), sigmoid=sigmoid).astype(np.float64) for run in (before, after))
        same += float((p.argmax(-1) == q.argmax(-1)).sum())
        moved += float(np.abs(p - q).sum()) / 2
        pixels += math.prod(tile.shape[:-1])
    return same / pixels, moved / pixels, pixels


def _check(parent: Bundle, to: str | None, share: float, out: Path, overwrite: bool) -> None:
    if parent.kind not in ("keras", "onnx"):
        raise BundleError(
            f"{parent.card.name} holds {parent.model_path.name}; only a Keras or ONNX model can be compressed."
        )
    if to not in (None, "bf16", "int8"):
        raise BundleError(f"--to {to} is not one of bf16, int8; choose one of them.")
    if not 0 <= share < 1:
        raise BundleError(f"--prune {share:g} is not a share; give a number from 0 to below 1.")
    if to is None and not share:
        raise BundleError("Nothing is to be done; give --to bf16, --to int8 or --prune.")
    if out.exists() and not (overwrite and (out / CARD).is_file()):
        raise BundleError(f"{out} already exists; choose another folder, or overwrite a bundle on purpose.")


def _converted(parent: Bundle, to: str | None, share: float, tiles: list[Array], file: Path) -> Path:
    from segmodels.engines.on_openvino import converted, find_model_layout, import_openvino

    ov = import_openvino()
    source = converted(parent) if parent.kind == "keras" else parent.model_path
    model = ov.Core().read_model(source)
    if share:
        prune(ov, model, share)
    if to == "int8":
        layout = find_model_layout(model, parent)
        quantise(ov, model, [layout.enter(tile) for tile in tiles])
        to_int8(ov, model)
    elif to == "bf16":
        to_bfloat16(ov, model)
    ov.serialize(model, file)
    return file


def _pruned_keras(parent: Bundle, share: float) -> Any:
    import keras

    from segmodels.bundles.keras_file import load_keras_file

    model = load_keras_file(parent.model_path)
    for layer in model._flatten_layers():
        kernel = getattr(layer, "kernel", None)
        if kernel is not None and len(kernel.shape) > 2:
            kernel.assign(pruned(np.asarray(keras.ops.convert_to_numpy(kernel), np.float32), share))
    return model


def _deflated(bundle: Bundle) -> Bundle:
    """The same ``model.keras`` with its members compressed: zeros take no room."""
    from segmodels.bundles.bundle import file_digest

    file = bundle.model_path
    packed = file.with_name("packed")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(_packed(info), old.read(info))
    packed.replace(file)
    return rewrite_card(bundle, digests={**bundle.card.digests, file.name: file_digest(file)})


def _packed(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """A member of the same name and time, compressed."""
    new = zipfile.ZipInfo(info.filename, info.date_time)
    new.compress_type = zipfile.ZIP_DEFLATED
    return new


def _bytes(bundle: Bundle) -> int:
    beside = bundle.path / WEIGHTS
    return bundle.model_path.stat().st_size + (beside.stat().st_size if beside.is_file() else 0)


def _speed(parent: Bundle, child: Bundle, to: str | None) -> float | None:
    """Tiles per second of the child against the parent in float32, on OpenVINO; None if one cannot run."""
    tile = child.card.tile
    narrow = child.card.precision or ("bfloat16" if to == "bf16" and cpu_bfloat16() else "float32")
    (before,) = measure(parent, "openvino", ["float32"], batch=1, tile=tile).rows
    (after,) = measure(child, "openvino", [narrow], batch=1, tile=tile).rows
    if before.refused or after.refused:
        return None
    return before.seconds / after.seconds
