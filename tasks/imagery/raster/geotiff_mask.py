"""A mask as a Cloud Optimised GeoTIFF with overviews, colour table and class names."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.transform import Affine
from rasterio.windows import Window as RasterWindow

from segmodels.bundles.card import ClassCard
from tasks.codes import special_codes
from tasks.errors import InputError
from tasks.files import writing
from tasks.imagery.mask_files import SPECIAL_COLOURS, fsync_replace, need_space, remove
from tasks.imagery.protocol import ImageInfo, Window
from tasks.imagery.raster.gdal import gdal
from tasks.imagery.raster.overviews import Overviews, with_overviews
from tasks.imagery.raster.tiff_header import check_tiff

_BLOCK = 512
_THREADS = 2


class GeoTiffMask:
    """Collects windows and overviews in plain TIFFs beside the final name, then lets GDAL make the COG.

    The bytes depend on the pixels, the grid, the classes and the tags alone: neither on
    the windows nor on the number of threads.
    """

    def __init__(
        self, info: ImageInfo, path: Path, *, classes: Sequence[ClassCard], wide: bool, tags: dict[str, str]
    ) -> None:
        self._path = path
        self._flat = path.with_name(path.name + ".flat.part")
        self._cog = path.with_name(path.name + ".part")
        self._virtual = path.with_name(path.name + ".vrt.part")
        self._info = info
        self._dtype = np.dtype(np.uint16 if wide else np.uint8)
        special = special_codes(wide=wide)
        crs = info.grid["crs"]
        profile: dict[str, Any] = {
            "driver": "GTiff",
            "height": info.shape[0],
            "width": info.shape[1],
            "count": 1,
            "dtype": self._dtype.name,
            "nodata": special["nodata"],
            "tiled": True,
            "blockxsize": _BLOCK,
            "blockysize": _BLOCK,
            "sparse_ok": True,
            "bigtiff": "if_safer",
            "crs": None if crs is None else CRS.from_wkt(crs),
            "transform": Affine(*info.grid["transform"]),
        }
        self._dataset: Any = None
        self._overviews: Overviews | None = None
        try:
            self._start(profile, classes, special, wide, tags)
        except BaseException:
            self.abort()
            raise

    def _start(
        self,
        profile: dict[str, Any],
        classes: Sequence[ClassCard],
        special: dict[str, int],
        wide: bool,
        tags: dict[str, str],
    ) -> None:
        with guarded(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # GDAL's own words for a folder that cannot be written do not say why.
            self._cog.touch()
            self._dataset = rasterio.open(self._flat, "w", **profile)
            self._overviews = Overviews(
                (self._info.shape[-2], self._info.shape[-1]),
                block=_BLOCK,
                dtype=self._dtype,
                nodata=special["nodata"],
                stem=self._path,
            )
            self._dataset.set_band_description(1, "class")
            names = {c.code: c.name for c in classes} | {code: name for name, code in special.items()}
            self._dataset.update_tags(**tags, **{f"CLASS_{code}": names[code] for code in sorted(names)})
            if not wide:
                self._dataset.write_colormap(1, _colour_table(classes, special))

    def write(self, window: Window, codes: npt.NDArray[Any]) -> None:
        """Writes codes ``(rows, columns)``; see ``MaskWriter``."""
        rows, columns = window
        where = RasterWindow(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        with guarded(self._path):
            codes = codes.astype(self._dtype, casting="same_kind", copy=False)
            self._dataset.write(codes, 1, window=where)
            self._levels().write(codes)

    def finish(self) -> None:
        """Makes the COG, checks it against the grid, fsyncs it and gives it its name."""
        with guarded(self._path):
            self._levels().finish()
            self._close()
            # Few masks deflate below a fiftieth: with less there is no use in beginning.
            need_space(self._path.parent, max(self._flat.stat().st_size // 50, 4096))
            levels = self._levels().paths
            with_overviews(self._flat, levels, self._virtual)
            _to_cog(self._virtual, self._cog, threads=_THREADS)
            self._verify()
            fsync_replace(self._cog, self._path)
            remove(self._flat, self._virtual, *levels)

    def abort(self) -> None:
        """Removes whatever was written."""
        if self._dataset is not None:
            # The file is about to go: what it could not flush does not matter.
            with suppress(RasterioError, CPLE_BaseError, OSError):
                self._close()
        levels = [] if self._overviews is None else self._overviews.paths
        remove(
            self._flat, self._virtual, *levels, self._cog, self._cog.with_name(self._cog.name + ".ovr.tmp")
        )

    def _levels(self) -> Overviews:
        assert self._overviews is not None
        return self._overviews

    def _close(self) -> None:
        if self._overviews is not None:
            self._overviews.close()
        dataset, self._dataset = self._dataset, None
        if dataset is not None:
            dataset.close()

    def _verify(self) -> None:
        """GDAL can lose a failed flush: no mask leaves without its blocks, or off its grid."""
        try:
            check_tiff(self._cog)
        except InputError as e:
            raise OSError(f"GDAL left it incomplete: {e}") from e
        with rasterio.open(self._cog) as out:
            grid = (out.height, out.width), tuple(out.transform[:6])
        if grid != (self._info.shape, tuple(self._info.grid["transform"])):
            raise OSError(f"GDAL wrote another grid: {grid}")


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """GDAL's environment, and its errors as ``OutputError``."""
    with writing(path), gdal(GDAL_PAM_ENABLED="NO"):
        try:
            yield
        except (RasterioError, CPLE_BaseError) as e:
            text = " ".join(str(e).split())
            raise OSError(errno.ENOSPC if "No space left" in text else errno.EIO, text) from e


def _to_cog(source: Path, target: Path, *, threads: int) -> None:
    options = {
        "BLOCKSIZE": str(_BLOCK),
        "COMPRESS": "DEFLATE",
        "LEVEL": "4",  # from 5 on, four times the time for an eighth fewer bytes
        "OVERVIEWS": "AUTO",  # the source's own
        "BIGTIFF": "IF_SAFER",
        "NUM_THREADS": str(threads),
    }
    rasterio.shutil.copy(str(source), str(target), driver="COG", **options)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _colour_table(
    classes: Sequence[ClassCard], special: dict[str, int]
) -> dict[int, tuple[int, int, int, int]]:
    table = {c.code: (*_rgb(c.colour), 255) for c in classes}
    for name, code in special.items():
        table[code] = (*_rgb(SPECIAL_COLOURS[name]), 0 if name == "nodata" else 255)
    return table
