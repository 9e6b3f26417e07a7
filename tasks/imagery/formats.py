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
        file: ``module:function`` that says whether a file (``Path``) of these suffixes is one of this format; None:
            all are.
        folder: ``module:function`` that says whether a folder (``Path``) is one image of this format.
        several: Whether several files, one per channel, are one image of this format.
        mask: How a mask on its grid is written.
    """

    name: str
    title: str
    opener: str
    suffixes: tuple[str, ...] = ()
    file: str | None = None
    folder: str | None = None
    several: bool = False
    mask: Mask = "cog"


TIFF_SUFFIXES = (".tif", ".tiff", ".gtiff", ".gtif")
NIFTI_SUFFIXES = (".nii", ".nii.gz")

FORMATS = (
    Format("geotiff", "GeoTIFF", "tasks.imagery.raster.geotiff:open_geotiff", suffixes=TIFF_SUFFIXES),
    Format("vrt", "VRT", "tasks.imagery.raster.virtual:open_virtual", suffixes=(".vrt",)),
    Format("jpeg2000", "JPEG 2000", "tasks.imagery.raster.drivers:open_jpeg2000", suffixes=(".jp2", ".j2k")),
    Format("erdas", "ERDAS", "tasks.imagery.raster.drivers:open_erdas", suffixes=(".img",)),
    Format(
        "envi", "ENVI", "tasks.imagery.raster.drivers:open_envi", suffixes=(".dat", ".bsq", ".bil", ".bip")
    ),
    Format("netcdf", "NetCDF", "tasks.imagery.raster.containers:open_netcdf", suffixes=(".nc", ".nc4")),
    Format("hdf5", "HDF5", "tasks.imagery.raster.containers:open_hdf5", suffixes=(".h5", ".hdf5", ".he5")),
    Format("png", "PNG", "tasks.imagery.raster.drivers:open_png", suffixes=(".png",)),
    Format("jpeg", "JPEG", "tasks.imagery.raster.drivers:open_jpeg", suffixes=(".jpg", ".jpeg")),
    Format(
        "scene",
        "Scene",
        "tasks.imagery.scene.opening:open_scene",
        suffixes=(".json", "_mtl.txt", "_mtl.xml", "mtd_msil1c.xml", "mtd_msil2a.xml"),
        file="tasks.imagery.scene.find:is_scene_file",
        folder="tasks.imagery.scene.find:is_scene",
        several=True,
    ),
    Format("nifti", "NIfTI", "tasks.imagery.volume.nifti:open_nifti", suffixes=NIFTI_SUFFIXES, mask="nifti"),
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
    if len(source.parts) > 1:
        # Rasters are bands of a scene, volumes are modalities: the first file says which.
        mask = format_of(Source(parts=source.parts[:1])).mask
        several = [f for f in FORMATS if f.several and f.mask == mask]
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
    found = endings[max(endings, key=len)] if endings else None
    if found is not None and found.file is not None and not part.remote and Path(part.uri).is_file():
        found = found if named(found.file)(Path(part.uri)) else None
    if found is None:
        raise InputError(
            f"{source} is of no format known here by its name ({known()}); convert it with gdal_translate or "
            "dcm2niix."
        )
    return found


def known() -> str:
    """The formats for a sentence."""
    return ", ".join(f"{f.title} ({', '.join(f.suffixes)})" if f.suffixes else f.title for f in FORMATS)
