"""Recipes that ship with the models: trainings by name."""

from __future__ import annotations

from pathlib import Path

from tasks.errors import UsageError


def recipes() -> dict[str, Path]:
    """Name → file."""
    import segmodels

    folder = Path(segmodels.__file__).parent / "zoo" / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_config(config: str) -> Path:
    """The file that is meant: a path, or a recipe's name.

    Raises:
        UsageError: It is neither.
    """
    path = Path(config)
    if path.is_file():
        return path
    known = recipes()
    if config in known:
        return known[config]
    raise UsageError(f"there is neither a file nor a recipe {config}; the recipes are {', '.join(known)}")
