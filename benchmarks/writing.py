"""Writes one mask by segflow's writer or directly, and prints how long it took; a program of its own."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.io import MemoryFile
from rasterio.shutil import copy

from benchmarks.rows.evaluate import codes
from segmodels.bundles.card import ClassCard
from tasks.imagery.open import open_image
from tasks.imagery.writers import create_mask

CLASSES = [ClassCard(name=f"class {i}", code=i, colour=f"#{i * 40:02x}80ff") for i in range(5)]
GRID = rasterio.Affine(1, 0, 300_000, 0, -1, 5_600_000)
#: What ``tasks.imagery.raster.geotiff_mask`` asks of GDAL, too.
COG = {"BLOCKSIZE": "512", "COMPRESS": "DEFLATE", "LEVEL": "4", "BIGTIFF": "IF_SAFER", "NUM_THREADS": "2"}


def main(kind: str, who: str, size: str, folder: Path) -> None:
    """Writes the mask of ``size``, slowest axis first."""
    shape = tuple(int(n) for n in size.split("x"))
    folder.mkdir(parents=True, exist_ok=True)
    lines = codes(range(int(np.prod(shape[:-1]))), shape[-1], moved=0)
    array = np.ascontiguousarray(lines.reshape(shape))
    path = folder / f"{who}.{'tif' if kind == 'cog' else 'nii.gz'}"
    path.unlink(missing_ok=True)
    write = {"ours": _ours, "direct": _cog if kind == "cog" else _nifti}[who]
    image = _image(kind, shape, folder) if who == "ours" else None
    begin = time.perf_counter()
    write(array, path, image)
    seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "bytes": path.stat().st_size, "pixels": _digest(kind, path)}))
    path.unlink()


def _image(kind: str, shape: tuple[int, ...], folder: Path) -> Path:
    """A sparse input on whose grid the mask lies."""
    path = folder / ("input.tif" if kind == "cog" else "input.nii")
    if kind == "cog":
        profile: dict[str, Any] = {"driver": "GTiff", "height": shape[0], "width": shape[1], "count": 1}
        with rasterio.open(
            path, "w", dtype="uint8", crs="EPSG:32633", transform=GRID, sparse_ok=True, tiled=True, **profile
        ):
            pass
    else:
        nib.save(nib.Nifti1Image(np.zeros(shape[::-1], np.uint8), np.eye(4)), path)
    return path


def _ours(array: npt.NDArray[np.uint8], path: Path, image: Path | None) -> None:
    assert image is not None
    opened = open_image(image, scratch=path.parent)
    writer = create_mask(opened.info, path, classes=CLASSES, wide=False, tags={"SEGFLOW_INPUT": "x"})
    rows = 512 if array.ndim == 2 else 16
    rest = tuple(slice(0, n) for n in array.shape[1:])
    for start in range(0, len(array), rows):
        stop = min(start + rows, len(array))
        writer.write((slice(start, stop), *rest), array[start:stop])
    writer.finish()
    opened.close()


def _cog(array: npt.NDArray[np.uint8], path: Path, image: Path | None) -> None:
    with MemoryFile() as memory:
        profile: dict[str, Any] = {
            "driver": "GTiff",
            "height": len(array),
            "width": array.shape[1],
            "count": 1,
        }
        with memory.open(dtype="uint8", nodata=255, crs="EPSG:32633", transform=GRID, **profile) as out:
            out.write(array, 1)
        copy(memory.name, str(path), driver="COG", OVERVIEW_RESAMPLING="MODE", **COG)


def _nifti(array: npt.NDArray[np.uint8], path: Path, image: Path | None) -> None:
    nib.save(nib.Nifti1Image(array.transpose(), np.eye(4)), path)


def _digest(kind: str, path: Path) -> str:
    """Of the pixels, read by the other library."""
    if kind == "cog":
        with rasterio.open(path) as file:
            values = file.read(1)
    else:
        values = np.asanyarray(nib.Nifti1Image.from_filename(path).dataobj)
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
