"""Images to measure on: discs on a grid, noisy, the same picture at every size.

Discs lie at fixed shares of the side, so a larger image has the same number of regions; noise of five
bits makes it compress about as aerial imagery does. Written in strips, so that size costs no memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

#: Discs along each axis, and their radius as a share of a cell.
CELLS = 16
RADIUS = 0.3
BLOCK = 512
#: Voxels between the centres of a volume.
PERIOD = 96
#: Raised when the pictures change, so that kept files are made again.
VERSION = 2


def picture(rows: range, side: int) -> npt.NDArray[np.uint8]:
    """Lines of the picture: ``(3, len(rows), side)``; 48 to 79 outside the discs and 176 to 207 inside."""
    inside = _discs(np.arange(rows.start, rows.stop), side)
    noise = _noise(rows, side)
    ramp = np.linspace(0, 120, side).astype(np.uint8)
    out = np.empty((3, len(rows), side), np.uint8)
    out[0] = 48 + 128 * inside.astype(np.uint8) + noise
    out[1] = ramp + noise[:, ::-1] + 60 * inside.astype(np.uint8)
    out[2] = ramp[::-1] + noise[::-1] + 30
    return out


def _discs(rows: npt.NDArray[Any], side: int) -> npt.NDArray[np.bool_]:
    def squares(positions: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        at = (positions + 0.5) / side * CELLS
        return ((at - np.floor(at) - 0.5) ** 2).astype(np.float32)

    return squares(rows)[:, None] + squares(np.arange(side))[None, :] < np.float32(RADIUS**2)


def _noise(rows: range, side: int) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(rows.start)
    return rng.integers(0, 32, (len(rows), side), np.uint8)


def geotiff(folder: Path, side: int) -> Path:
    """A tiled, ZSTD-compressed GeoTIFF of ``side`` × ``side`` × 3 uint8 in metres, made once and kept."""
    path = folder / f"discs-{side}-v{VERSION}.tif"
    if path.exists():
        return path
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.tif")
    profile = {
        "driver": "GTiff",
        "width": side,
        "height": side,
        "count": 3,
        "dtype": "uint8",
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "interleave": "pixel",
        "photometric": "rgb",
        "compress": "zstd",
        "zstd_level": "3",
        "bigtiff": "if_safer",
        "num_threads": "2",
        "crs": "EPSG:32633",
        "transform": from_origin(300_000, 5_600_000, 1, 1),
    }
    with rasterio.Env(GDAL_CACHEMAX=256 << 20), rasterio.open(part, "w", **profile) as image:
        for start in range(0, side, BLOCK):
            rows = range(start, min(start + BLOCK, side))
            image.write(picture(rows, side), window=Window(0, start, side, len(rows)))
    part.rename(path)
    return path


def volume(shape: tuple[int, int, int]) -> npt.NDArray[np.int16]:
    """Nested shells around a lattice of centres, four levels of 64 with noise; ``(z, y, x)``."""
    rng = np.random.default_rng(1)
    distance = np.zeros(shape, np.float32)
    for axis, size in enumerate(shape):
        at = (np.arange(size) / PERIOD) % 1 - 0.5
        distance += (at**2).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    level = np.digitize(distance, [0.06, 0.16, 0.3]).astype(np.int16)
    return 32 + 64 * level + rng.integers(-6, 7, shape, np.int16)


def nifti(folder: Path, shape: tuple[int, int, int]) -> Path:
    """An uncompressed int16 NIfTI volume of 1 mm voxels, ``shape`` as ``(z, y, x)``, made once and kept."""
    path = folder / f"shells-{'x'.join(map(str, shape))}-v{VERSION}.nii"
    if path.exists():
        return path
    import nibabel

    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.nii")
    nibabel.save(nibabel.Nifti1Image(volume(shape).transpose(2, 1, 0), np.eye(4)), part)
    part.rename(path)
    return path
