"""A classical method asked for by name: its bundle is made for the image's channels, once."""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import platformdirs

from segmodels.bundles.bundle import CARD, load_bundle
from segmodels.errors import BundleError
from segmodels.methods.names import CLASSICAL
from tasks.imagery.formats import format_of
from tasks.imagery.open import open_image
from tasks.imagery.source import Named, Source


def resolve_model(model: str, image: Named, *, cache: Path | None = None) -> str:
    """The bundle that a run uses: ``model`` as it is, or one made for this image.

    Args:
        model: A folder, a shipped bundle's name, or the name of a classical method.
        image: Whose channels count.
        cache: Folder of bundles made; the user's cache folder by default.

    Raises:
        InputError: The image cannot be opened.
    """
    if model not in CLASSICAL or (Path(model) / CARD).is_file():
        return model
    count = _channels(Source.of(image))
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


def _channels(source: Source) -> int:
    if format_of(source).mask == "nifti":
        return len(source.parts)  # and opening it may take as long as inflating it
    with tempfile.TemporaryDirectory() as scratch:
        opened = open_image(source, scratch=Path(scratch))
        try:
            return len(opened.info.channels)
        finally:
            opened.close()
