"""Overviews of a mask, made while it is written: each pixel the commonest of four below it.

GDAL's own overviews by mode take twenty times as long as this, the longest part of writing a mask.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from rasterio.transform import Affine
from rasterio.windows import Window

from tasks.compiled import compiled


class Overviews:
    """Levels of half, a quarter, … of the size, each a plain TIFF, down to one block.

    Args:
        shape: Rows and columns of the mask.
        block: Side of a block: a level whose sides fit it is the last.
        dtype: Of the mask.
        nodata: Code that counts only where all four pixels hold it.
        stem: Files are named after it: ``mask.tif.level1.part`` …
    """

    def __init__(
        self, shape: tuple[int, int], *, block: int, dtype: np.dtype[Any], nodata: int, stem: Path
    ) -> None:
        self._nodata = nodata
        self.paths: list[Path] = []
        self._levels: list[Any] = []
        self._rows: list[int] = []
        self._odd: list[npt.NDArray[Any] | None] = []
        height, width = shape
        while max(height, width) > block:
            height, width = -(-height // 2), -(-width // 2)
            path = stem.with_name(f"{stem.name}.level{len(self.paths) + 1}.part")
            self.paths.append(path)
            self._levels.append(
                rasterio.open(
                    path,
                    "w",
                    driver="GTiff",
                    height=height,
                    width=width,
                    count=1,
                    dtype=dtype.name,
                    nodata=nodata,
                    sparse_ok=True,
                    transform=Affine.scale(2 ** len(self.paths)),  # any: without one rasterio warns
                    bigtiff="if_safer",
                )
            )
            self._rows.append(0)
            self._odd.append(None)

    def write(self, codes: npt.NDArray[Any]) -> None:
        """Takes the next full lines of the mask, ``(rows, columns)``."""
        self._take(0, codes)

    def finish(self) -> None:
        """Completes and closes the levels; what was never written is nodata."""
        for k in range(len(self._levels)):
            odd, self._odd[k] = self._odd[k], None
            if odd is not None:
                self._put(k, odd)
        self.close()

    def close(self) -> None:
        """Closes the files; may be called again."""
        levels, self._levels = self._levels, []
        for level in levels:
            level.close()

    def _take(self, k: int, codes: npt.NDArray[Any]) -> None:
        if k == len(self._levels):
            return
        odd = self._odd[k]
        lines = codes if odd is None else np.concatenate([odd, codes])
        even = len(lines) // 2 * 2
        self._odd[k] = lines[even:].copy() if even < len(lines) else None
        if even:
            self._put(k, lines[:even])

    def _put(self, k: int, lines: npt.NDArray[Any]) -> None:
        half = halve(np.ascontiguousarray(lines), self._nodata)
        where = Window(0, self._rows[k], half.shape[1], len(half))
        self._levels[k].write(half, 1, window=where)
        self._rows[k] += len(half)
        self._take(k + 1, half)


@compiled(boundscheck=False)
def halve(codes: npt.NDArray[Any], nodata: int) -> npt.NDArray[Any]:
    """The commonest of each 2 × 2 pixels, the first of them in reading order where several are.

    Args:
        codes: ``(rows, columns)``, C-contiguous; past an odd end the last line or column counts twice.
        nodata: Counts only where nothing else is there.

    Returns:
        ``(⌈rows / 2⌉, ⌈columns / 2⌉)``.
    """
    rows, columns = codes.shape
    out = np.empty(((rows + 1) // 2, (columns + 1) // 2), codes.dtype)
    for y in range(out.shape[0]):
        above, below = codes[2 * y], codes[min(2 * y + 1, rows - 1)]
        line = out[y]
        for x in range(out.shape[1]):
            right = min(2 * x + 1, columns - 1)
            a, b, c, d = above[2 * x], above[right], below[2 * x], below[right]
            best = a
            if not (a == b and a == c and a == d):
                most = 0 if a == nodata else 1 + (a == b) + (a == c) + (a == d)
                count = 0 if b == nodata else 1 + (b == a) + (b == c) + (b == d)
                if count > most:
                    best, most = b, count
                count = 0 if c == nodata else 1 + (c == a) + (c == b) + (c == d)
                if count > most:
                    best, most = c, count
                if d != nodata and most == 0:
                    best = d
            line[x] = best
    return out


def with_overviews(flat: Path, levels: Sequence[Path], target: Path) -> None:
    """Writes a virtual raster of a flat file that names the levels as its overviews; all lie in one folder."""
    rasterio.shutil.copy(str(flat), str(target), driver="VRT")
    tree = ET.parse(target)
    for band in tree.iter("VRTRasterBand"):
        for path in levels:
            overview = ET.SubElement(band, "Overview")
            name = ET.SubElement(overview, "SourceFilename", relativeToVRT="1")
            name.text = path.name
            ET.SubElement(overview, "SourceBand").text = "1"
    tree.write(target)
