"""Bundles that lie inside a bundle, members of an ensemble or stages: listed by digest, never followed outside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segmodels.bundles.bundle import CARD, Bundle, load_bundle
from segmodels.errors import BundleError


class Inner(BaseModel):
    """One bundle inside: its folder, and the digest it must have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[str, Field(pattern=r"^(members|stages)/[a-z0-9][a-z0-9._-]*$")]
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


Listing = TypeVar("Listing", bound=BaseModel)


def read_listing(file: Path, kind: type[Listing]) -> Listing:
    """The file that lists them.

    Raises:
        BundleError: It is not valid.
    """
    try:
        return kind.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BundleError(f"{file} is not valid: {where}: {first['msg']}; write the bundle again.") from error


def inner_folder(bundle: Bundle, entry: Inner) -> Path:
    """Where one lies.

    Raises:
        BundleError: A link leads out of the bundle, or nothing is there.
    """
    folder = bundle.path / entry.path
    if folder.is_symlink() or folder.parent.is_symlink():
        raise BundleError(f"{folder} is a link; copy the real folder into the bundle.")
    if not (folder / CARD).is_file():
        raise BundleError(f"{folder} is missing; copy the bundle again from where it came.")
    return folder


def load_inner(folder: Path, entry: Inner, *, listed_in: str, role: str) -> Bundle:
    """Loads one and compares it with its digest.

    Raises:
        BundleError: It is another one, or is refused itself.
    """
    loaded = load_bundle(folder)
    if loaded.digest != entry.digest:
        raise BundleError(f"{folder} is not the {role} that {listed_in} describes; copy the bundle again.")
    return loaded
