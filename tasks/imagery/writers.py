"""Masks on the input's grid to the last bit: the codes, and the writer for each format."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from segmodels.bundles.card import ClassCard
from tasks.errors import OutputError
from tasks.imagery.protocol import ImageInfo, MaskWriter

#: Codes of pixels that carry no class, counted down from the dtype's maximum.
SPECIAL = ("nodata", "failed", "unobserved")
SPECIAL_COLOURS = {"nodata": "#000000", "failed": "#ff00ff", "unobserved": "#808080"}


def special_codes(*, wide: bool) -> dict[str, int]:
    """Codes of nodata, failed and unobserved pixels (255, 254, 253 in a uint8 mask)."""
    top = 65535 if wide else 255
    return {name: top - i for i, name in enumerate(SPECIAL)}


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
        from tasks.imagery.geotiff_mask import GeoTiffMask

        return GeoTiffMask(info, path, classes=classes, wide=wide, tags=tags)
    from tasks.imagery.nifti_mask import NiftiMask

    return NiftiMask(info, path, classes=classes, wide=wide, tags=tags)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the system says while ``path`` is written into one sentence."""
    try:
        yield
    except OSError as e:
        if e.errno == errno.ENOSPC:
            free = shutil.disk_usage(path.parent).free if path.parent.is_dir() else 0
            raise OutputError(
                f"{path} cannot be written: the disk is full ({free} bytes left); free some space."
            ) from e
        if e.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise OutputError(f"{path} cannot be written: permission denied; choose another --out.") from e
        raise OutputError(
            f"{path} cannot be written ({e.strerror or e}); check the folder and its disk."
        ) from e


def need_space(folder: Path, size: int) -> None:
    """Raises ENOSPC before, rather than in the middle of, writing ``size`` bytes."""
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def remove(*paths: Path) -> None:
    """Removes files that may not be there, in folders that may not be there."""
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def fsync_replace(part: Path, path: Path) -> None:
    """Makes ``part`` durable, then gives it its final name."""
    with part.open("rb+") as f:
        os.fsync(f.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
