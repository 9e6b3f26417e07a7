"""Probabilities as a Cloud Optimised GeoTIFF with a band a class, or as NIfTI with an axis of classes."""

from __future__ import annotations

import gzip
import math
import mmap
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from tasks.files import writing
from tasks.imagery.mask_files import fsync_replace, need_space, remove
from tasks.imagery.protocol import ImageInfo
from tasks.probabilities.bands import ProbabilityBand

Kind = Literal["uint8", "float16"]
#: uint8 holds 254 steps; 255 is nodata in a GeoTIFF. NIfTI has no nodata: there all classes are 0.
STEPS, NODATA = 254, 255
_BLOCK, _LEVEL, _CHUNK = 512, 1, 1 << 20


class Writer(Protocol):
    """Takes bands in raster order."""

    def write(self, band: ProbabilityBand) -> None: ...

    def finish(self) -> None: ...

    def abort(self) -> None: ...


def write_bands(writer: Writer, bands: Iterator[ProbabilityBand]) -> None:
    """Writes every band once; removes what was written if it fails."""
    try:
        for band in bands:
            writer.write(band)
        writer.finish()
    except BaseException:
        writer.abort()
        raise


def as_steps(values: npt.NDArray[np.float32], *, nowhere: int) -> npt.NDArray[np.uint8]:
    """0 … 1 as 0 … 254; ``nowhere`` where nothing was predicted."""
    known = ~np.isnan(values)
    return np.where(known, np.rint(np.where(known, values, 0) * np.float32(STEPS)), nowhere).astype(np.uint8)


class CogProbabilities:
    """Collects bands in a plain TIFF beside the final name, then lets GDAL make the COG.

    Args:
        info: The grid.
        path: Final name.
        names: Of the classes, in the order of the bands.
        kind: ``float16`` holds values of 16-bit floats, as float32, which every reader knows.
    """

    def __init__(self, info: ImageInfo, path: Path, *, names: Sequence[str], kind: Kind) -> None:
        import rasterio
        from rasterio.crs import CRS
        from rasterio.transform import Affine

        from tasks.imagery.raster.geotiff_mask import guarded

        self._path, self._kind, self._guarded = path, kind, guarded
        self._flat = path.with_name(path.name + ".flat.part")
        self._cog = path.with_name(path.name + ".part")
        crs = info.grid["crs"]
        profile: dict[str, Any] = {
            "driver": "GTiff",
            "height": info.shape[0],
            "width": info.shape[1],
            "count": len(names),
            "dtype": "uint8" if kind == "uint8" else "float32",
            "nodata": NODATA if kind == "uint8" else math.nan,
            "interleave": "band",
            "bigtiff": "if_safer",
            "crs": None if crs is None else CRS.from_wkt(crs),
            "transform": Affine(*info.grid["transform"]),
        }
        self._dataset: Any = None
        try:
            with guarded(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                self._cog.touch()
                self._dataset = rasterio.open(self._flat, "w", **profile)
                for i, name in enumerate(names, 1):
                    self._dataset.set_band_description(i, name)
                if kind == "uint8":
                    self._dataset.scales = (1 / STEPS,) * len(names)
        except BaseException:
            self.abort()
            raise

    def write(self, band: ProbabilityBand) -> None:
        """Writes lines of all classes."""
        from rasterio.windows import Window

        rows, columns = band.window
        where = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        if self._kind == "uint8":
            values: npt.NDArray[Any] = as_steps(band.values, nowhere=NODATA)
        else:
            # In 32 bits on disk, those that are 0 compressed away: GDAL's 16-bit floats are not the same bytes
            # from run to run.
            values = band.values.astype(np.float16).astype(np.float32)
        with self._guarded(self._path):
            self._dataset.write(values, window=where)

    def finish(self) -> None:
        """Makes the COG, with overviews by mean, fsyncs it and gives it its name."""
        import rasterio.shutil

        options = {
            "BLOCKSIZE": str(_BLOCK),
            "COMPRESS": "DEFLATE",
            "LEVEL": str(_LEVEL),
            "PREDICTOR": "YES",
            "BIGTIFF": "IF_SAFER",
            "RESAMPLING": "AVERAGE",
            "NUM_THREADS": "2",
        }
        with self._guarded(self._path):
            self._close()
            rasterio.shutil.copy(str(self._flat), str(self._cog), driver="COG", **options)
            fsync_replace(self._cog, self._path)
            remove(self._flat)

    def abort(self) -> None:
        """Removes whatever was written."""
        with suppress(Exception):  # the file is about to go: what it could not flush does not matter
            self._close()
        remove(self._flat, self._cog, self._cog.with_name(self._cog.name + ".ovr.tmp"))

    def _close(self) -> None:
        dataset, self._dataset = self._dataset, None
        if dataset is not None:
            dataset.close()


class NiftiProbabilities:
    """Collects bands in a mapped plain file in native axes, classes last, then compresses it as a stream.

    Args:
        info: The grid.
        path: Final name.
        names: Of the classes.
    """

    def __init__(self, info: ImageInfo, path: Path, *, names: Sequence[str]) -> None:
        from tasks.imagery.volume import orientation
        from tasks.imagery.volume.nifti_mask import mask_header, mask_shape, reserved

        self._path = path
        self._flat = path.with_name(path.name + ".flat.part")
        self._part = path.with_name(path.name + ".part")
        self._axes = orientation.axis_map(info.grid["affine"])
        own = mask_shape(info)
        self._native, self._frames, self._classes = own[:3], math.prod(own[3:]), len(names)
        self._header = mask_header(info, (*own, len(names)), np.dtype("u1"), {"probabilities": list(names)})
        self._header["intent_code"] = 0
        self._header["scl_slope"], self._header["scl_inter"] = 1 / STEPS, 0
        self._map: mmap.mmap | None = None
        size = math.prod(own) * len(names)
        try:
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                need_space(path.parent, size)
                self._map = reserved(self._flat, size)
        except BaseException:
            self.abort()
            raise

    def write(self, band: ProbabilityBand) -> None:
        """Writes slices of all classes."""
        from tasks.imagery.volume import orientation

        if self._map is None:
            raise ValueError(f"{self._path} is finished")
        steps = as_steps(band.values, nowhere=0)
        where = orientation.to_native(band.window[-3:], self._axes, self._native)
        frame = band.window[0].start if len(band.window) == 4 else 0
        with writing(self._path):
            shape = (*self._native, self._frames, self._classes)
            target = np.ndarray(shape, np.uint8, buffer=self._map, order="F")
            for c in range(self._classes):
                codes = steps[c].reshape(steps.shape[-3:])[..., np.newaxis]
                at: Any = (*where, slice(frame, frame + 1), c)
                target[at] = orientation.native_view(codes, self._axes)
            del target
            if hasattr(mmap, "MADV_DONTNEED"):
                self._map.madvise(mmap.MADV_DONTNEED)

    def finish(self) -> None:
        """Compresses without time or name, fsyncs, and gives the file its name."""
        with writing(self._path):
            self._close()
            with (
                self._flat.open("rb") as flat,
                self._part.open("wb") as raw,
                gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as out,
            ):
                self._header.write_to(out)
                shutil.copyfileobj(flat, out, _CHUNK)
            fsync_replace(self._part, self._path)
            self._flat.unlink()

    def abort(self) -> None:
        """Removes whatever was written."""
        self._close()
        remove(self._flat, self._part)

    def _close(self) -> None:
        mapped, self._map = self._map, None
        if mapped is not None:
            mapped.close()
