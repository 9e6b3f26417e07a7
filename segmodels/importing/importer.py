"""A model file and an image in, a bundle that runs out, with what is left to check."""

from __future__ import annotations

import re
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from segmodels.bundles.bundle import Bundle
from segmodels.bundles.card import Card
from segmodels.bundles.write import reference_keras, reference_onnx, write_bundle
from segmodels.engines.backend import Array, Run
from segmodels.errors import BundleError, EngineError
from segmodels.importing.draft import check_like, draft_card
from segmodels.importing.expect import Agreement, Expected, compare, read_expected
from segmodels.importing.like import Like
from segmodels.importing.onnx_file import read_onnx
from segmodels.importing.onnx_model import Source, open_onnx
from segmodels.importing.questions import SIDES, check_answer, find_stride
from segmodels.importing.wishes import Wishes, bundle_name
from segmodels.normalise import make_normaliser

_PYTORCH = "export it with torch.onnx.export(model.eval(), …, external_data=False) where you trained it"
#: What other files are, and how they become one of the two that can be read.
_REMEDIES = {
    ".h5": "an HDF5 file, which may hold code; load it with Keras and save it with model.save('model.keras')",
    ".pt": f"a pickle, which may run code when it is read; {_PYTORCH}",
    ".pkl": "a pickle, which may run code when it is read; export the model to ONNX where you trained it",
    ".ckpt": f"a checkpoint of weights without a model; {_PYTORCH}",
    ".safetensors": f"weights without a model; {_PYTORCH}",
    ".pb": "part of a SavedModel; convert its folder with python -m tf2onnx.convert --saved-model, and import that",
    ".tflite": "a TensorFlow Lite model; convert it with python -m tf2onnx.convert --tflite, and import that",
}
_SAME = {".hdf5": ".h5", ".pth": ".pt", ".bin": ".pt", ".pickle": ".pkl", ".joblib": ".pkl"}
#: A golden input larger than this would make every start slow.
GOLDEN_SIDES = {2: 256, 3: 64}


@dataclass(frozen=True)
class Imported:
    """What came of it.

    Attributes:
        bundle: Written and read back.
        facts: What was found in the model.
        agreement: With the user's framework, if its logits were given.
        notes: What looks odd.
    """

    bundle: Bundle
    facts: tuple[str, ...]
    agreement: Agreement | None
    notes: tuple[str, ...]


def import_model(
    path: Path,
    *,
    like: Like,
    out: Path | None = None,
    expect: Path | None = None,
    wishes: Wishes | None = None,
    overwrite: bool = False,
) -> Imported:
    """Makes a bundle of somebody's model.

    Args:
        path: ``.onnx`` or ``.keras``.
        like: An image of the kind that the model is for.
        out: The bundle's folder; by default one of the bundle's name in the working directory.
        expect: An ``.npz`` with ``input`` and ``logits`` of the user's own framework.
        wishes: What the user says of the model.
        overwrite: Whether an existing bundle is replaced.

    Raises:
        BundleError: The model is refused, or differs from what its framework gives.
        EngineError: Nothing here can run it.
    """
    wishes = wishes or Wishes()
    _check_suffix(path)
    name = wishes.name or bundle_name(path.stem)
    target = out or Path(name)
    with tempfile.TemporaryDirectory() as folder:
        model, source = _open(path, like, Path(folder))
        check_like(source, like, str(path))
        card = draft_card(source, like, wishes, file=path.name)
        card = Card.model_validate({**card.model_dump(), "name": name})
        run = _runner(model, source, card, Path(folder))
        if source.fixed is None and wishes.stride is None:
            sample = middle_input(like, card, (SIDES[source.ndim],) * source.ndim)
            check_answer(run, sample, logits=source.logits, file=str(path))
            stride = find_stride(run, sample)
            card = draft_card(source, like, replace(wishes, stride=stride), file=path.name)
            card = Card.model_validate({**card.model_dump(), "name": name})
        facts, notes = [*source.facts, *_facts(card)], []
        golden = middle_input(like, card, _golden_sides(card))
        check_answer(run, golden, logits=source.logits, file=str(path))
        agreement = None
        if expect is not None:
            expected = read_expected(expect, ndim=source.ndim, channels=source.channels, logits=source.logits)
            _check_size(card, expected)
            agreement = compare(run, expected)
            notes = _odd_range(golden, expected)
            if expected.input.shape[1:-1] == golden.shape[1:-1] or not card.fixed_tile:
                golden = _cut(expected.input, card)
        bundle = write_bundle(
            target, card=card, model=model, onnx=source.file, golden_input=golden, overwrite=overwrite
        )
    return Imported(bundle, tuple(facts), agreement, tuple(notes))


def peek_channels(path: Path) -> int | None:
    """Channels that a model file says it takes, before it is opened; None where it does not say, or is refused later.

    An image's fourth axis, or a band tagged alpha, is a channel only if the model takes so many.
    """
    if not path.is_file():
        return None
    try:
        if path.suffix.lower() == ".onnx":
            dims = read_onnx(path).inputs[0].dims
            return min((d for d in (dims[1], dims[-1]) if d is not None), default=None)
        if path.suffix.lower() == ".keras":
            with zipfile.ZipFile(path) as archive:
                found = re.search(rb'"batch_shape": \[[^\]]*?(\d+)\]', archive.read("config.json"))
            return int(found[1]) if found else None
    except (BundleError, IndexError, KeyError, zipfile.BadZipFile):
        return None  # opening it says what is wrong
    return None


def _check_suffix(path: Path) -> None:
    suffix = path.suffix.lower()
    if not path.exists():
        raise BundleError(f"{path} does not exist; check the path.")
    if path.is_dir():
        raise BundleError(
            f"{path} is a folder; if it is a SavedModel, convert it with python -m tf2onnx.convert --saved-model "
            f"{path} --output model.onnx, and import that."
        )
    if suffix not in (".onnx", ".keras"):
        what = _REMEDIES.get(
            _SAME.get(suffix, suffix), "neither .onnx nor .keras; export the model to one of them"
        )
        raise BundleError(f"{path} is {what}.")


def _open(path: Path, like: Like, folder: Path) -> tuple[Any, Source]:
    if path.suffix.lower() == ".onnx":
        return None, open_onnx(path, channels=len(like.channels), folder=folder)
    from segmodels.engines.on_keras import use_keras
    from segmodels.importing.keras_model import open_keras

    use_keras("tensorflow")
    return open_keras(path)


def _runner(model: Any, source: Source, card: Card, folder: Path) -> Run:
    """The model as it will be written, in float32 on the CPU; whatever it raises is a :class:`ModelError`."""
    if source.file is not None:
        link = folder / "model.onnx"
        if not link.exists():
            link.symlink_to(source.file.resolve())
        return reference_onnx(Bundle(folder, card, "onnx", ""))
    call = reference_keras(model)

    def run(x: Array) -> Array:
        try:
            return call(x)
        except Exception as error:  # TensorFlow's own exceptions share no base with Keras'
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise EngineError(
                f"Keras cannot run the model on {x.shape} ({reason}); give --stride."
            ) from error

    return run


def _golden_sides(card: Card) -> tuple[int, ...]:
    if card.fixed_tile:
        return card.tile
    most = GOLDEN_SIDES[len(card.tile)] // 2
    return tuple(max(card.stride, min(t, most) // card.stride * card.stride) for t in card.tile)


def middle_input(like: Like, card: Card, sides: tuple[int, ...]) -> Array:
    """The image's middle, normalised as the card says, mirrored where the image is smaller: ``(1, *sides, c)``."""
    values, valid = like.middle((*(1,) * (like.ndim - len(sides)), *sides))
    x = make_normaliser(card, like.statistics)(values, valid)
    x = x.reshape(x.shape[-len(sides) - 1 :])
    have: tuple[int, ...] = x.shape[:-1]
    lacking = [(0, side - size) for side, size in zip(sides, have, strict=True)]
    x = np.pad(x, [*lacking, (0, 0)], mode="symmetric")
    return np.ascontiguousarray(x[None])


def _cut(x: Array, card: Card) -> Array:
    most = GOLDEN_SIDES[len(card.tile)]
    sides = [n if card.fixed_tile else min(n, most) // card.stride * card.stride for n in x.shape[1:-1]]
    return np.ascontiguousarray(x[(slice(0, 1), *(slice(0, max(card.stride, n)) for n in sides))])


def _check_size(card: Card, expected: Expected) -> None:
    have = expected.input.shape[1:-1]
    if card.fixed_tile and have != card.tile:
        raise BundleError(
            f"--expect {expected.file} holds an input of {'×'.join(map(str, have))}, but the model takes "
            f"{'×'.join(map(str, card.tile))} only; save an input of that size, or export with free sizes."
        )
    if any(n < card.stride for n in have):
        raise BundleError(
            f"--expect {expected.file} holds an input of {'×'.join(map(str, have))}, less than the model's stride of "
            f"{card.stride}; save a larger one."
        )


def _odd_range(ours: Array, expected: Expected) -> list[str]:
    """Whether the card's normalisation puts the image where the user's own inputs are."""
    notes = []
    theirs = expected.input
    (a, b), (c, d) = (np.percentile(x, (5, 95)) for x in (ours, theirs))
    if max(b - a, d - c) > 3 * max(min(b - a, d - c), 1e-6) or min(b, d) < max(a, c):
        notes.append(
            f"the image normalised by the card spans {a:.3g} to {b:.3g}, but the input of {expected.file} "
            f"{c:.3g} to {d:.3g}: check --normalise"
        )
    return notes


def _facts(card: Card) -> list[str]:
    tile = "×".join(map(str, card.tile))
    size = (
        f"tiles of exactly {tile}"
        if card.fixed_tile
        else f"any tile in steps of {card.stride}, {tile} by default"
    )
    return [f"{len(card.classes)} classes ({card.activation}), {len(card.tile)}-D, {size}"]
