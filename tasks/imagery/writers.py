"""Masks on the input's grid to the last bit: the table of writers, a line each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segmodels.bundles.card import ClassCard
from tasks.imagery.formats import Mask, format_named, named
from tasks.imagery.protocol import ImageInfo, MaskWriter


@dataclass(frozen=True)
class Writer:
    """One way to write a mask.

    Attributes:
        file: Its name in a result.
        maker: ``module:class`` that takes ``(info, path, *, classes, wide, tags)``.
    """

    file: str
    maker: str


WRITERS: dict[Mask, Writer] = {
    "cog": Writer("mask.tif", "tasks.imagery.raster.geotiff_mask:GeoTiffMask"),
    "nifti": Writer("mask.nii.gz", "tasks.imagery.volume.nifti_mask:NiftiMask"),
    "ome-zarr": Writer("mask.ome.zarr", "tasks.imagery.volume.array_mask:OmeZarrMask"),
    "ome-tiff": Writer("mask.ome.tif", "tasks.imagery.volume.array_mask:OmeTiffMask"),
}


def mask_name(info: ImageInfo) -> str:
    """``mask.tif`` or ``mask.nii.gz``, by the image's format."""
    return _writer(info).file


def create_mask(
    info: ImageInfo, path: Path, *, classes: Sequence[ClassCard], wide: bool, tags: dict[str, str]
) -> MaskWriter:
    """Starts a mask on the grid of ``info``.

    Pixels that are never written are *nodata*.

    Args:
        info: The input image.
        path: Final name; nothing appears under it before ``finish``.
        classes: Names, codes and colours.
        wide: uint16 instead of uint8.
        tags: Kept inside the file (TIFF metadata, a NIfTI comment extension); only what
            determines the mask, so that equal masks are equal files.

    Raises:
        OutputError: The folder cannot be written.
    """
    made: MaskWriter = named(_writer(info).maker)(info, path, classes=classes, wide=wide, tags=tags)
    return made


def _writer(info: ImageInfo) -> Writer:
    return WRITERS[format_named(info.format).mask]
