"""A mask on disk as bands of full lines, and what its codes mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.ahead import one_ahead
from tasks.errors import InputError, UsageError
from tasks.imagery.formats import TIFF_SUFFIXES
from tasks.imagery.open import open_image
from tasks.imagery.protocol import ImageInfo
from tasks.imagery.raster.gdal import gdal
from tasks.imagery.raster.tiff_header import check_tiff
from tasks.publishing.publish import RECORD, read_record

#: Pixels of a band; a multiple of the blocks' height is read at once.
BAND = 1 << 24
_SPECIAL = ("nodata", "failed", "unobserved")


@dataclass(frozen=True)
class Meaning:
    """Whose regions get polygons.

    Attributes:
        names: Of these classes, by code.
        full: Whether pixels that share only a corner are connected.
    """

    names: dict[int, str]
    full: bool


def mask_info(path: Path) -> ImageInfo:
    """The grid of a mask.

    Raises:
        InputError: The file is missing, damaged, or no raster of codes.
    """
    if not path.name.lower().endswith(TIFF_SUFFIXES):
        raise InputError(f"{path} is no GeoTIFF by its name: polygons are made of rasters, volumes have none")
    image = open_image(path, scratch=path.parent)
    info = image.info
    image.close()
    if info.dtype not in ("uint8", "uint16") or len(info.channels) != 1:
        what = f"{len(info.channels)} bands of {info.dtype}"
        raise InputError(f"{path} holds {what} and a mask is one band of uint8 or uint16: convert it")
    return info


def bands(path: Path) -> Iterator[npt.NDArray[Any]]:
    """Lines of a mask from the top, decoded while those before are in use.

    Raises:
        InputError: It is damaged.
    """
    yield from one_ahead(_read(path))


def _read(path: Path) -> Iterator[npt.NDArray[Any]]:
    import rasterio
    from rasterio.errors import RasterioError
    from rasterio.windows import Window

    check_tiff(path)
    try:
        with gdal(), rasterio.open(path) as image:
            block = image.block_shapes[0][0]
            rows = max(1, BAND // image.width)
            rows = max(block, rows // block * block) if block <= 2 * rows else rows
            for start in range(0, image.height, rows):
                window = Window(0, start, image.width, min(rows, image.height - start))
                yield image.read(1, window=window)
    except RasterioError as e:
        raise InputError(f"{path} cannot be read ({e}): fetch or make it again") from e


def meaning_of(path: Path, info: ImageInfo, *, codes: tuple[int, ...], connectivity: str | None) -> Meaning:
    """What a mask's codes mean: by the run that left it, by its own tags, or by themselves.

    Args:
        path: The mask.
        info: Its grid.
        codes: Classes that the user wants; by default those whose regions the run measured, or every
            class but 0 and nodata.
        connectivity: ``face`` or ``full``; by default the run's, or ``full``.

    Raises:
        UsageError: A code that this mask cannot hold.
    """
    top = 255 if info.dtype == "uint8" else 65535
    if any(not 0 <= c <= top for c in codes):
        raise UsageError(f"--codes {','.join(map(str, codes))}: a mask of {info.dtype} holds 0 to {top}")
    record = read_record(path.with_name(RECORD))
    if record is not None and path.name in record["files"]:
        classes = record["bundle"]["classes"]
        names = {c["code"]: c["name"] for c in classes if c["code"] in codes or (not codes and c["region"])}
        full = record["parameters"]["connectivity"] == "full"
    else:
        tagged = _tagged(path)
        special = {c for c, name in tagged.items() if name in _SPECIAL and c > top - len(_SPECIAL)}
        special |= {0} if info.nodata is None else {0, int(info.nodata)}
        wanted = codes or tuple(sorted((set(tagged) or set(_present(path, top))) - special))
        names, full = {c: tagged.get(c, f"class {c}") for c in wanted}, True
    return Meaning(
        names={c: names.get(c, f"class {c}") for c in (codes or names)},
        full=full if connectivity is None else connectivity == "full",
    )


def _tagged(path: Path) -> dict[int, str]:
    """Names of classes as our masks hold them."""
    import rasterio

    with gdal(), rasterio.open(path) as image:
        tags = image.tags()
    found = {k.removeprefix("CLASS_"): v for k, v in tags.items() if k.startswith("CLASS_")}
    return {int(k): v for k, v in found.items() if k.isdigit()}


def _present(path: Path, top: int) -> list[int]:
    """Codes that occur."""
    seen = np.zeros(top + 1, bool)
    for band in bands(path):
        for row in band:
            seen[row] = True
    return np.flatnonzero(seen).tolist()
