"""Bundles of the benchmarks, made once by a process of their own and kept."""

from __future__ import annotations

from pathlib import Path

from benchmarks.command import program
from benchmarks.harness import Settings
from benchmarks.models import VERSION


def bundle(settings: Settings, name: str) -> Path:
    """The folder of a bundle of :mod:`benchmarks.models`."""
    folder = settings.work / "models" / f"{name}-v{VERSION}"
    if not folder.exists():
        settings.note(f"making the bundle {name}")
        program(settings, "benchmarks.models", name, folder)
    return folder
