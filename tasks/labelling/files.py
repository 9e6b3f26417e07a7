"""Files of a labelled data set: images copied, masks with the values that its layout wants."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import rasterio.shutil

from tasks.files import writing
from tasks.imagery.raster.gdal import gdal
from tasks.publishing.digests import sidecars

_CHUNK = 1 << 20
_PLAIN = {
    "TILED": "YES",
    "BLOCKXSIZE": "512",
    "BLOCKYSIZE": "512",
    "COMPRESS": "DEFLATE",
    "BIGTIFF": "IF_SAFER",
}


def place_raster(source: Path, target: Path) -> None:
    """Copies a raster with the files beside it that change what is read, under the target's name.

    Raises:
        OutputError: It cannot be written.
    """
    parts = [(source, target)]
    for beside in sidecars(source):
        tail = beside.name.removeprefix(source.name)
        named = target.name + tail if tail != beside.name else target.stem + beside.suffix
        parts.append((beside, target.with_name(named)))
    for path, to in reversed(parts):  # the image last: with it the item is there
        _written(to, lambda part, path=path: shutil.copyfile(path, part))  # type: ignore[misc]


def place_volume(source: Path, folder: Path, item: str) -> None:
    """Copies a volume as ``<item>_0000.nii.gz``.

    Raises:
        OutputError: It cannot be written.
    """

    def write(part: Path) -> None:
        if source.name.lower().endswith(".gz"):
            shutil.copyfile(source, part)
            return
        with source.open("rb") as plain, part.open("wb") as raw, _gzip(raw) as out:
            shutil.copyfileobj(plain, out, _CHUNK)

    _written(folder / f"{item}_0000.nii.gz", write)


def place_mask(mask: Path, target: Path) -> None:
    """Copies a raster's mask as a plain GeoTIFF: GDAL does not like to edit a Cloud Optimised one.

    Raises:
        OutputError: It cannot be written.
    """

    def write(part: Path) -> None:
        with gdal(GDAL_PAM_ENABLED="NO"):
            rasterio.shutil.copy(str(mask), str(part), driver="GTiff", **_PLAIN)

    _written(target, write)


def place_labels(mask: Path, target: Path, table: npt.NDArray[np.integer]) -> None:
    """Copies a volume's mask with other values, a piece at a time; its header stays.

    Args:
        mask: ``mask.nii.gz`` of a run.
        target: ``.nii.gz``.
        table: New value of each value of the mask's dtype.

    Raises:
        OutputError: It cannot be written.
    """
    stored: Any = nib.load(mask).dataobj  # type: ignore[attr-defined]
    dtype, offset = stored.dtype, int(stored.offset)
    values = table.astype(dtype)

    def write(part: Path) -> None:
        with gzip.open(mask, "rb") as plain, part.open("wb") as raw, _gzip(raw) as out:
            out.write(plain.read(offset))
            while piece := plain.read(_CHUNK):
                out.write(values[np.frombuffer(piece, dtype)].tobytes())

    _written(target, write)


def _gzip(raw: object) -> gzip.GzipFile:
    return gzip.GzipFile("", "wb", 6, raw, mtime=0)  # type: ignore[call-overload]


def _written(target: Path, write: Callable[[Path], object]) -> None:
    part = target.with_name(f".{target.name}.part")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(part)
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
