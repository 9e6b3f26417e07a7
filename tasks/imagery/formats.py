"""The table of formats: a line each; what a line names is imported when an image needs it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tasks.errors import InputError
from tasks.imagery.source import Source

Mask = Literal["cog", "nifti"]
"""How a mask of an image is written, see ``tasks.imagery.writers``."""


@dataclass(frozen=True)
class Format:
    """One format of images.

    Attributes:
        name: In records: ``geotiff``.
        title: For people: ``GeoTIFF``.
        opener: ``module:function`` that takes ``(source, *, scratch, wanted)`` and gives an ``Image``.
        suffixes: Endings of its files' names, lower case.
        folder: ``module:function`` that says whether a folder (``Path``) is one image of this format.
        several: Whether several files, one per channel, are one image of this format.
        mask: How a mask on its grid is written.
    """

    name: str
    title: str
    opener: str
    suffixes: tuple[str, ...] = ()
    folder: str | None = None
    several: bool = False
    mask: Mask = "cog"


TIFF_SUFFIXES = (".tif", ".tiff", ".gtiff", ".gtif")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
DICOM_SUFFIXES = (".dcm", ".ima")

FORMATS = (
    Format("geotiff", "GeoTIFF", "tasks.imagery.raster.geotiff:open_geotiff", suffixes=TIFF_SUFFIXES),
    Format("nifti", "NIfTI", "tasks.imagery.volume.nifti:open_nifti", suffixes=NIFTI_SUFFIXES, mask="nifti"),
    Format(
        "dicom",
        "DICOM",
        "tasks.imagery.volume.dicom.image:open_dicom",
        suffixes=DICOM_SUFFIXES,
        folder="tasks.imagery.volume.dicom.headers:holds_dicom",
        mask="nifti",
    ),
)


def named(reference: str) -> Callable[..., Any]:
    """What ``module:name`` says.

    Example:
        >>> named("math:floor")(2.5)
        2
    """
    module, _, name = reference.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def format_named(name: str) -> Format:
    """The format that a record names.

    Raises:
        KeyError: There is none.
    """
    return {f.name: f for f in FORMATS}[name]


def format_of(source: Source) -> Format:
    """The format of a source, by its name or, for a folder, by what it holds.

    Raises:
        InputError: It is of none.
    """
    source = source.revealed()
    if len(source.parts) > 1:
        several = [f for f in FORMATS if f.several]
        if several:
            return several[0]
        source.only  # noqa: B018 - says what is wrong
    part = source.only
    name = part.uri.split("?")[0].rstrip("/").lower() if part.remote else part.uri.lower()
    if not part.remote and Path(part.uri).is_dir():
        for f in FORMATS:
            if f.folder is not None and named(f.folder)(Path(part.uri)):
                return f
        raise InputError(
            f"{source} is a folder and no image of a format known here ({known()}): name one file."
        )
    endings = {s: f for f in FORMATS for s in f.suffixes if name.endswith(s)}
    if not endings:
        raise InputError(
            f"{source} is of no format known here by its name ({known()}); convert it with gdal_translate or "
            "dcm2niix."
        )
    return endings[max(endings, key=len)]


def known() -> str:
    """The formats for a sentence."""
    return ", ".join(f"{f.title} ({', '.join(f.suffixes)})" if f.suffixes else f.title for f in FORMATS)
