"""Finding and checking a bundle; nothing in it is deserialised before its digests agree."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from segmodels.bundles.card import Card
from segmodels.errors import BundleError
from segmodels.methods.method import read_method
from segmodels.methods.names import CLASSICAL

Kind = Literal["keras", "onnx", "openvino", "method", "ensemble", "two-stage"]

CARD = "model.json"
GOLDEN = "golden.npz"
ENSEMBLE = "ensemble.json"
STAGES = "stages.json"
#: The weights beside ``model.xml``.
WEIGHTS = "model.bin"
MODELS: dict[str, Kind] = {
    "model.keras": "keras",
    "model.onnx": "onnx",
    "model.xml": "openvino",
    "method.json": "method",
    ENSEMBLE: "ensemble",
    STAGES: "two-stage",
}

#: Formats that can run code when loaded, or that no engine here reads.
_UNSAFE = {".h5", ".hdf5", ".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".npy", ".so", ".dll", ".py"}

_ZOO = Path(__file__).parent.parent / "zoo"


@dataclass(frozen=True)
class Bundle:
    """A checked bundle.

    Attributes:
        path: Its folder, absolute.
        card: Its card.
        kind: What its model file is.
        digest: ``sha256:…`` over the sorted names and digests of its files, card included.
    """

    path: Path
    card: Card
    kind: Kind
    digest: str

    @property
    def model_path(self) -> Path:
        """The model file."""
        return self.path / next(name for name, kind in MODELS.items() if kind == self.kind)


def shipped_bundles() -> list[str]:
    """Names of the bundles that come with segmodels, sorted."""
    return sorted(card.parent.name for card in _ZOO.glob(f"*/{CARD}"))


def load_bundle(path: str | Path) -> Bundle:
    """Finds a bundle and checks it, without loading the model.

    Args:
        path: A folder, or the name of a shipped bundle.

    Raises:
        BundleError: If it is missing, incomplete, altered or unsafe.
    """
    folder = _find(path)
    card = _read_card(folder)
    kind = _check_files(folder, card)
    for name, digest in card.digests.items():
        if file_digest(folder / name) != digest:
            raise BundleError(
                f"{folder / name} is not the file its card describes (sha256 differs); "
                "copy the bundle again from where it came."
            )
    bundle = Bundle(folder, card, kind, bundle_digest(folder, card))
    if kind == "method":
        read_method(bundle.model_path, card)
    elif kind == "ensemble":
        from segmodels.bundles.ensemble import read_members  # it loads its members by this function

        read_members(bundle)
    elif kind == "two-stage":
        from segmodels.bundles.stages import read_stages

        read_stages(bundle)
    return bundle


def read_card(path: str | Path) -> Card:
    """The card of a bundle, no file of which is checked.

    Args:
        path: A folder, or the name of a shipped bundle.

    Raises:
        BundleError: It is missing or cannot be read.
    """
    return _read_card(_find(path))


def read_golden(bundle: Bundle) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Reads the golden input and its logits.

    Returns:
        ``(b, *tile, channels)`` and ``(b, *tile, logits)``, float32.

    Raises:
        BundleError: If the arrays are missing or do not fit the card.
    """
    file = bundle.path / GOLDEN
    try:
        with np.load(file, allow_pickle=False) as arrays:
            x, y = arrays["input"], arrays["logits"]
    except (KeyError, ValueError, OSError) as error:
        raise BundleError(
            f"{file} does not hold the arrays 'input' and 'logits' ({error}); write the bundle again."
        ) from error
    card = bundle.card
    fits = x.dtype == y.dtype == np.float32 and x.ndim - 2 in card.ndims and x.shape[:-1] == y.shape[:-1]
    if not fits or x.shape[-1] != len(card.channels) or y.shape[-1] != card.logits or not x.size:
        raise BundleError(
            f"{file} holds input {x.dtype}{x.shape} and logits {y.dtype}{y.shape}, which do not fit a card "
            f"of {len(card.channels)} channels and {card.logits} logits; write the bundle again."
        )
    return x, y


def file_digest(path: Path) -> str:
    """sha256 of a file, in hexadecimal; the file is streamed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bundle_digest(folder: Path, card: Card) -> str:
    """``sha256:…`` over the sorted ``(name, digest)`` of all listed files and the card itself."""
    digests = {**card.digests, CARD: file_digest(folder / CARD)}
    lines = "".join(f"{name}\0{digest}\n" for name, digest in sorted(digests.items()))
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def _find(path: str | Path) -> Path:
    folder = Path(path)
    if (folder / CARD).is_file():
        return folder.resolve()
    shipped = shipped_bundles()
    if str(path) in shipped:
        return _ZOO / str(path)
    if folder.is_dir():
        raise BundleError(f"{folder} has no {CARD}, so it is not a bundle; name a folder that has one.")
    if folder.exists():
        raise BundleError(f"{folder} is a file, but a bundle is a folder; name the folder around it.")
    if str(path) in CLASSICAL:
        raise BundleError(
            f"{path} is made for each image's number of channels: name it in segflow run or label, or write its "
            f"bundle with segflow models make {path} --out FOLDER --channels NUMBER."
        )
    shipped = [*shipped, *CLASSICAL]
    near = difflib.get_close_matches(str(path), shipped, n=1)
    guess = f"did you mean {near[0]!r}? " if near else ""
    raise BundleError(
        f"There is no bundle {str(path)!r}: {guess}shipped bundles are {', '.join(shipped)}; "
        "otherwise give the path of a folder."
    )


def _read_card(folder: Path) -> Card:
    file = folder / CARD
    if file.is_symlink():
        raise BundleError(f"{file} is a link; copy the real file into the bundle.")
    try:
        return Card.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BundleError(f"{file} is not a valid card: {where}: {first['msg']}; correct it.") from error


def _check_files(folder: Path, card: Card) -> Kind:
    """Checks names only: which files there are, which are listed, that none leads outside."""
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in _UNSAFE:
            raise BundleError(
                f"{file} can run code when loaded, or is read by no engine; remove it from the bundle."
            )
    for name in card.digests:
        if name != Path(name).name or "\\" in name or name in ("", ".", "..", CARD):
            raise BundleError(f"{folder / CARD} lists {name!r}, which is no plain file name of this folder.")
        if (folder / name).is_symlink():
            raise BundleError(f"{folder / name} is a link; copy the real file into the bundle.")
        if not (folder / name).is_file():
            raise BundleError(f"{folder / name} is missing; copy the bundle again from where it came.")
    models = [name for name in MODELS if (folder / name).exists() or (folder / name).is_symlink()]
    if len(models) != 1:
        found = " and ".join(models) or "none"
        raise BundleError(f"{folder} needs exactly one of {', '.join(MODELS)}, but has {found}.")
    beside = (WEIGHTS,) if models[0] == "model.xml" else ()
    for name in (models[0], *beside, GOLDEN):
        if name not in card.digests:
            state = "not listed in the card's digests" if (folder / name).exists() else "missing"
            raise BundleError(f"{folder / name} is {state}; write the bundle again with write_bundle.")
    return MODELS[models[0]]
