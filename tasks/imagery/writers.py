"""Masks on the input's grid to the last bit: the writer for each format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segmodels.bundles.card import ClassCard
from tasks.imagery.protocol import ImageInfo, MaskWriter


def mask_name(info: ImageInfo) -> str:
    """``mask.tif`` or ``mask.nii.gz``."""
    return "mask.tif" if info.format == "geotiff" else "mask.nii.gz"


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
    if info.format == "geotiff":
        from tasks.imagery.raster.geotiff_mask import GeoTiffMask

        return GeoTiffMask(info, path, classes=classes, wide=wide, tags=tags)
    from tasks.imagery.volume.nifti_mask import NiftiMask

    return NiftiMask(info, path, classes=classes, wide=wide, tags=tags)
