"""The table of formats: a line each; what a line names is imported when an image needs it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tasks.errors import InputError
from tasks.imagery.source import Part, Source

Mask = Literal["cog", "nifti", "ome-zarr", "ome-tiff"]
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
        several: Of which kind of parts it makes one image, a channel each: rasters or volumes.
        maybe: Endings that files of several formats have; ``holds`` says whether one is of this format.
        holds: ``module:function`` that says whether a file (``Path``) is of this format.
        parts: As which kind its own files count where several are one image.
        layered: Whether one of its files or folders may hold several images, of which ``--layer`` names one.
        mask: How a mask on its grid is written.
    """

    name: str
    title: str
    opener: str
    suffixes: tuple[str, ...] = ()
    folder: str | None = None
    several: Literal["raster", "volume"] | None = None
    parts: Literal["raster", "volume"] | None = "raster"
    maybe: tuple[str, ...] = ()
    holds: str | None = None
    layered: bool = False
    mask: Mask = "cog"


TIFF_SUFFIXES = (".tif", ".tiff", ".gtiff", ".gtif")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
DICOM_SUFFIXES = (".dcm", ".ima")

FORMATS = (
    Format("geotiff", "GeoTIFF", "tasks.imagery.raster.geotiff:open_geotiff", suffixes=TIFF_SUFFIXES),
    Format("vrt", "VRT", "tasks.imagery.raster.virtual:open_virtual", suffixes=(".vrt",)),
    Format("jpeg2000", "JPEG 2000", "tasks.imagery.raster.drivers:open_jpeg2000", suffixes=(".jp2", ".j2k")),
    Format("erdas", "ERDAS", "tasks.imagery.raster.drivers:open_erdas", suffixes=(".img",)),
    Format(
        "envi", "ENVI", "tasks.imagery.raster.drivers:open_envi", suffixes=(".dat", ".bsq", ".bil", ".bip")
    ),
    Format(
        "netcdf",
        "NetCDF",
        "tasks.imagery.raster.containers:open_netcdf",
        suffixes=(".nc", ".nc4"),
        layered=True,
    ),
    Format(
        "hdf5",
        "HDF5",
        "tasks.imagery.raster.containers:open_hdf5",
        suffixes=(".h5", ".hdf5", ".he5"),
        layered=True,
    ),
    Format("png", "PNG", "tasks.imagery.raster.drivers:open_png", suffixes=(".png",)),
    Format("jpeg", "JPEG", "tasks.imagery.raster.drivers:open_jpeg", suffixes=(".jpg", ".jpeg")),
    Format(
        "scene",
        "Scene",
        "tasks.imagery.scene.opening:open_scene",
        maybe=(".json", "_mtl.txt", "_mtl.xml", "mtd_msil1c.xml", "mtd_msil2a.xml"),
        holds="tasks.imagery.scene.find:is_scene_file",
        folder="tasks.imagery.scene.find:is_scene",
        several="raster",
    ),
    Format(
        "nifti",
        "NIfTI",
        "tasks.imagery.volume.nifti:open_nifti",
        suffixes=NIFTI_SUFFIXES,
        parts="volume",
        maybe=(".hdr", ".img", ".hdr.gz", ".img.gz"),
        holds="tasks.imagery.volume.companions:is_pair",
        mask="nifti",
    ),
    Format(
        "modalities",
        "Volumes, one per channel",
        "tasks.imagery.volume.modalities:open_modalities",
        several="volume",
        parts="volume",
        mask="nifti",
    ),
    Format(
        "nrrd",
        "NRRD",
        "tasks.imagery.volume.itk:open_nrrd",
        suffixes=(".nrrd", ".nhdr"),
        parts="volume",
        mask="nifti",
    ),
    Format(
        "metaimage",
        "MetaImage",
        "tasks.imagery.volume.itk:open_metaimage",
        suffixes=(".mha", ".mhd"),
        parts="volume",
        mask="nifti",
    ),
    Format(
        "ome-zarr",
        "OME-Zarr",
        "tasks.imagery.volume.ome_zarr:open_ome_zarr",
        suffixes=(".zarr",),
        folder="tasks.imagery.volume.ome_zarr:is_zarr",
        parts="volume",
        layered=True,
        mask="ome-zarr",
    ),
    Format(
        "tiff-stack",
        "TIFF stack",
        "tasks.imagery.volume.tiff_stack:open_tiff_stack",
        suffixes=(".ome.tif", ".ome.tiff", ".ome.tf8", ".ome.btf"),
        parts="volume",
        maybe=(".tif", ".tiff"),
        holds="tasks.imagery.volume.tiff_stack:is_stack",
        layered=True,
        mask="ome-tiff",
    ),
    Format(
        "dicom",
        "DICOM",
        "tasks.imagery.volume.dicom.image:open_dicom",
        suffixes=DICOM_SUFFIXES,
        folder="tasks.imagery.volume.dicom.headers:holds_dicom",
        maybe=("",),
        holds="tasks.imagery.volume.dicom.headers:is_dicom_file",
        parts="volume",
        layered=True,
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

    Several files are of the format that makes one image of parts of their kind.

    Raises:
        InputError: It is of none, or several files are not all rasters or all volumes.
    """
    source = source.revealed()
    if len(source.parts) == 1:
        return _format_of(source.only)
    kinds = {_format_of(part).parts for part in source.parts}
    for f in FORMATS:
        if f.several is not None and kinds == {f.several}:
            return f
    if len(kinds) > 1:
        raise InputError(
            f"{source} are files of different kinds and one image needs all rasters or all volumes: convert them to "
            "one format."
        )
    source.only  # noqa: B018 - says what is wrong
    raise AssertionError("a source of several parts has no only one")


def _format_of(part: Part) -> Format:
    name = part.uri.split("?")[0].rstrip("/").lower() if part.remote else part.uri.lower()
    if not part.remote and Path(part.uri).is_dir():
        for f in FORMATS:
            if f.folder is not None and named(f.folder)(Path(part.uri)):
                return f
        raise InputError(
            f"{part} is a folder and no image of a format known here ({known()}): name a file, or the files of its bands as "
            "a pattern in quotes, like 'DIR/*_B?.tif'."
        )
    for f in FORMATS:
        if (
            f.holds is not None
            and name.endswith(f.maybe)
            and not part.remote
            and named(f.holds)(Path(part.uri))
        ):
            return f
    endings = {s: f for f in FORMATS for s in f.suffixes if name.endswith(s)}
    if not endings:
        raise InputError(
            f"{part} is of no format known here by its name ({known()}); convert it with gdal_translate or "
            "dcm2niix."
        )
    return endings[max(endings, key=len)]


def known() -> str:
    """The formats for a sentence."""
    return ", ".join(f.title for f in FORMATS)
