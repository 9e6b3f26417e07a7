"""A classical method asked for by name: its bundle is made for the image's channels, once."""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import platformdirs

from segmodels.bundles.bundle import CARD, load_bundle, read_card
from segmodels.errors import BundleError
from segmodels.methods.names import CLASSICAL
from tasks.imagery.formats import format_of
from tasks.imagery.open import open_image
from tasks.imagery.source import Named, Source
from tasks.imagery.wanted import Reading
from tasks.planning.plan import Spacing


def resolve_model(
    model: str, image: Named, *, reading: Reading | None = None, cache: Path | None = None
) -> str:
    """The bundle that a run uses: ``model`` as it is, or one made for this image.

    Args:
        model: A folder, a shipped bundle's name, or the name of a classical method.
        image: Whose channels count.
        reading: How it is read.
        cache: Folder of bundles made; the user's cache folder by default.

    Raises:
        InputError: The image cannot be opened.
    """
    if model not in CLASSICAL or (Path(model) / CARD).is_file():
        return model
    count = _channels(Source.of(image), reading or Reading())
    versions = [version(name) for name in ("segflow", "scikit-image", "scikit-learn")]
    key = hashlib.sha256(repr((model, count, versions)).encode()).hexdigest()[:12]
    folder = (cache or platformdirs.user_cache_path("segflow") / "methods") / f"{model}-{count}-{key}"
    with suppress(BundleError):  # not there, or damaged: made anew
        load_bundle(folder)
        return str(folder)
    from segmodels.methods.make import make_classical

    names = [f"band{i + 1}" for i in range(count)]
    try:
        make_classical(model, folder, channels=names, overwrite=True)
    except (BundleError, OSError):
        load_bundle(folder)  # fine if another process has made it meanwhile
    return str(folder)


def settled_spacing(asked: Spacing, model: str) -> Spacing:
    """``native`` where the model's card names no spacing, so that asking for it makes no other result.

    Args:
        asked: By the user.
        model: A bundle's folder or name; one that cannot be read is refused where it is loaded.
    """
    with suppress(BundleError):
        return asked if read_card(model).spacing is not None else "native"
    return asked


def _channels(source: Source, reading: Reading) -> int:
    if reading.bands:
        return len(reading.bands)
    if format_of(source).mask == "nifti":
        return len(source.parts)  # and opening it may take as long as inflating it
    with tempfile.TemporaryDirectory() as scratch:
        opened = open_image(source, scratch=Path(scratch))
        try:
            return len(opened.info.channels)
        finally:
            opened.close()
