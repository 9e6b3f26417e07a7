"""A classical method asked for by name: its bundle is made for the image's channels, once."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import platformdirs

from segmodels.bundles.bundle import CARD, load_bundle
from segmodels.errors import BundleError
from segmodels.methods.names import CLASSICAL
from tasks.errors import InputError
from tasks.imagery.open import NIFTI_SUFFIXES, open_image


def resolve_model(model: str, image: Path, *, cache: Path | None = None) -> str:
    """The bundle that a run uses: ``model`` as it is, or one made for this image.

    Args:
        model: A folder, a shipped bundle's name, or the name of a classical method.
        image: Whose channels count; of a volume it is one.
        cache: Folder of bundles made; the user's cache folder by default.

    Raises:
        InputError: The image cannot be opened.
    """
    if model not in CLASSICAL or (Path(model) / CARD).is_file():
        return model
    count = _channels(image)
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


def _channels(image: Path) -> int:
    if image.name.lower().endswith(NIFTI_SUFFIXES):
        return 1
    if not image.is_file():
        raise InputError(f"{image} does not exist: check the path")
    opened = open_image(image, scratch=image.parent)  # a raster needs no scratch
    try:
        return len(opened.info.channels)
    finally:
        opened.close()
