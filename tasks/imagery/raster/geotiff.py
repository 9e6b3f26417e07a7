"""GeoTIFF behind the image protocol, read through GDAL's GTiff driver."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError, RasterioError
from rasterio.windows import Window as RasterWindow

from tasks.errors import InputError
from tasks.imagery.bands import raster_bands
from tasks.imagery.earth.globe import goes_round
from tasks.imagery.protocol import ImageInfo, Pixels, Window
from tasks.imagery.raster.picking import picked
from tasks.imagery.raster.tiff_header import check_tiff, is_tiff
from tasks.imagery.source import Source
from tasks.imagery.wanted import Wanted

#: GDAL's block cache, for the whole process.
CACHE_BYTES = 64 << 20
#: Above this, one storage block is worth a warning: a window cannot be read with less memory.
LARGE_BLOCK_BYTES = 256 << 20


@dataclass(frozen=True)
class _Layout:
    """Which bands are channels, which say what is valid.

    Attributes:
        channels: Bands that the model sees.
        alphas: Bands that mark valid pixels.
        shared_mask: Whether one mask serves all bands.
        masked: Channels with a mask or a nodata value.
        nodata_is_a_value: Whether the nodata value may occur as a measurement.
    """

    channels: tuple[int, ...]
    alphas: tuple[int, ...]
    shared_mask: bool
    masked: tuple[int, ...]
    nodata_is_a_value: bool


@contextmanager
def gdal(**options: str) -> Iterator[None]:
    """GDAL with a bounded block cache and further configuration ``options``."""
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, **options):
        yield


def open_geotiff(source: Source, *, scratch: Path, wanted: Wanted) -> GeoTiffImage:
    """Opens a GeoTIFF; see ``tasks.imagery.formats.Format``.

    Raises:
        InputError: It cannot be used as an image.
    """
    path = source.local
    with path.open("rb") as f:
        if not is_tiff(f.read(4)):
            raise InputError(f"{path} is not a TIFF although its name says so; export the image as GeoTIFF.")
    return GeoTiffImage(path, wanted=wanted)


class GeoTiffImage:
    """One GeoTIFF, thread-safe: a pool holds a dataset handle per concurrent reader.

    An alpha band is a mask, not a channel, unless the model takes exactly as many
    channels as there are bands (GDAL tags a fourth uint8 band as alpha unasked, so
    near infrared often carries that name).

    Args:
        path: A local file.
        wanted: What the model and its user want.

    Raises:
        InputError: The file cannot be used as an image; the sentence says why.
    """

    def __init__(self, path: Path, *, wanted: Wanted | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._idle: list[Any] = []
        self._closed = False
        check_tiff(path)
        with gdal():
            dataset = self._open()
            try:
                self._layout, self._info = _inspect(dataset, path, wanted or Wanted())
            except BaseException:
                dataset.close()
                raise
            self._idle.append(dataset)

    @property
    def info(self) -> ImageInfo:
        """What is known without reading pixels."""
        return self._info

    def read(self, window: Window) -> Pixels:
        """Reads ``(rows, columns)``.

        Returns:
            Values ``(rows, columns, channels)``, C-contiguous, and their validity: every
            channel finite, unmasked and present. Where nodata is the lowest or highest value of an
            unsigned type (0 in most 8-bit imagery) it may be a measurement, dark water in near
            infrared for one: there a pixel is missing only if all its channels are, which is
            also how rasterio's ``dataset_mask`` reads it.

        Raises:
            InputError: A block is truncated or corrupt.
        """
        with self._reading(window) as (dataset, where):
            return _read(dataset, self._layout, where, np.dtype(self._info.dtype))

    def read_codes(self, window: Window) -> npt.NDArray[Any]:
        """Reads the first channel ``(rows, columns)`` as stored, in a third of the time of :meth:`read`.

        Raises:
            InputError: A block is truncated or corrupt.
        """
        with self._reading(window) as (dataset, where):
            codes: npt.NDArray[Any] = dataset.read(self._layout.channels[0], window=where)
            return codes

    @contextmanager
    def _reading(self, window: Window) -> Iterator[tuple[Any, RasterWindow]]:
        """A handle, and the window in rasterio's words; damaged blocks become an input error."""
        rows, columns = window
        where = RasterWindow(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        with gdal(), self._handle() as dataset:
            try:
                yield dataset, where
            except RasterioError as e:
                raise InputError(
                    f"{self._path} cannot be read at rows {rows.start}–{rows.stop}, columns "
                    f"{columns.start}–{columns.stop}: its blocks are damaged; fetch it again."
                ) from e

    def close(self) -> None:
        """Closes every handle; reading afterwards is an error."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for dataset in idle:
            dataset.close()

    def _open(self) -> Any:
        try:
            return rasterio.open(self._path.absolute(), driver="GTiff", sharing=False)
        except RasterioError as e:
            raise InputError(
                f"{self._path} cannot be opened as a GeoTIFF ({_brief(e)}); fetch or export it again."
            ) from e

    @contextmanager
    def _handle(self) -> Iterator[Any]:
        with self._lock:
            if self._closed:
                raise ValueError(f"{self._path} is closed")
            dataset = self._idle.pop() if self._idle else None
        dataset = self._open() if dataset is None else dataset
        try:
            yield dataset
        finally:
            self._give_back(dataset)

    def _give_back(self, dataset: Any) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(dataset)
                return
        dataset.close()


def _brief(e: Exception) -> str:
    return " ".join(str(e).split())[:200] or type(e).__name__


def _read(dataset: Any, layout: _Layout, where: Any, dtype: np.dtype[Any]) -> Pixels:
    shape = (int(where.height), int(where.width))
    values = np.empty((*shape, len(layout.channels)), dtype)
    # One call for all channels: pixel-interleaved blocks are then decoded once.
    bands = dataset.read(list(layout.channels), window=where)
    valid = np.ones(shape, bool)
    for i in range(len(layout.channels)):
        values[..., i] = bands[i]
        if dtype.kind == "f":
            valid &= np.isfinite(bands[i])
    del bands
    masked = layout.masked[:1] if layout.shared_mask else layout.masked
    if masked:
        present = [dataset.read_masks(band, window=where) != 0 for band in masked]
        valid &= np.logical_or.reduce(present) if layout.nodata_is_a_value else np.logical_and.reduce(present)
    for band in layout.alphas:
        valid &= dataset.read(band, window=where) != 0
    return Pixels(values, valid)


def _inspect(dataset: Any, path: Path, wanted: Wanted) -> tuple[_Layout, ImageInfo]:
    if dataset.count == 0:
        raise InputError(f"{path} has no bands; export it again with at least one.")
    if any(name.startswith("complex") for name in dataset.dtypes):
        raise InputError(f"{path} holds complex numbers; export amplitude or another real quantity.")
    notes: list[str] = []
    layout = _layout(dataset, path, wanted, notes)
    dtype = np.result_type(*(np.dtype(dataset.dtypes[b - 1]) for b in layout.channels))
    transform, crs = _grid(dataset, path, notes)
    _content_notes(dataset, layout, notes)
    blocks = dataset.block_shapes[layout.channels[0] - 1]
    bands_a_block = dataset.count if _pixel_interleaved(dataset) else 1
    block_bytes = math.prod(blocks) * bands_a_block * dtype.itemsize
    if block_bytes > LARGE_BLOCK_BYTES:
        notes.append(
            f"One storage block holds {block_bytes / 2**20:.0f} MiB, so any window needs as much memory; "
            "rewrite it with gdal_translate -co TILED=YES."
        )
    nodata = next(
        (dataset.nodatavals[b - 1] for b in layout.channels if dataset.nodatavals[b - 1] is not None), None
    )
    info = ImageInfo(
        source=Source.of(path),
        format="geotiff",
        kind="raster",
        field="earth",
        shape=(dataset.height, dataset.width),
        axes=("y", "x"),
        channels=(names := _names(dataset, layout.channels)),
        dtype=dtype.name,
        wraps=(False, crs is not None and goes_round(_wkt(crs), transform, dataset.shape)),
        chunk=(int(blocks[0]), int(blocks[1])),
        nodata=nodata,
        grid={
            "crs": None if crs is None else _wkt(crs),
            "transform": transform,
            # Files beside the image that GDAL read too (.tfw, .aux.xml, .msk, .ovr).
            "sidecars": [Path(f).name for f in dataset.files[1:]],
        },
        notes=tuple(notes),
        gdal=str(path) if layout.channels == tuple(sorted({*dataset.indexes} - {*layout.alphas})) else None,
        bands=raster_bands(dataset, layout.channels, names, str(path)),
    )
    return layout, info


def _layout(dataset: Any, path: Path, wanted: Wanted, notes: list[str]) -> _Layout:
    alphas = tuple(i for i, c in enumerate(dataset.colorinterp, 1) if c == ColorInterp.alpha)
    channels = tuple(b for b in range(1, dataset.count + 1) if b not in alphas)
    if alphas and wanted.number == dataset.count:
        notes.append(
            f"Band {alphas[0]} is tagged alpha but read as a channel, as the model takes {wanted.number}."
        )
        alphas, channels = (), tuple(range(1, dataset.count + 1))
    if not channels:
        raise InputError(f"{path} holds nothing but an alpha band; export it with its image bands.")
    channels, alphas = picked(dataset, channels, alphas, wanted, label=str(path))
    flags = {b: set(dataset.mask_flag_enums[b - 1]) for b in channels}
    # Alpha is handled above; masks that GDAL derives from it must not count twice, or at all.
    masked = tuple(
        b for b in channels if MaskFlags.all_valid not in flags[b] and MaskFlags.alpha not in flags[b]
    )
    shared = bool(masked) and all(MaskFlags.per_dataset in flags[b] for b in masked)
    return _Layout(channels, alphas, shared, masked, _nodata_is_a_value(dataset, channels))


def _nodata_is_a_value(dataset: Any, channels: tuple[int, ...]) -> bool:
    """Whether every channel has the same nodata, at an end of an unsigned type's range."""
    values = {dataset.nodatavals[b - 1] for b in channels}
    dtypes = {np.dtype(dataset.dtypes[b - 1]) for b in channels}
    if len(values) > 1 or len(dtypes) > 1:
        return False
    dtype, value = dtypes.pop(), values.pop()
    return dtype.kind == "u" and value in (0, float(np.iinfo(dtype).max))


def _grid(dataset: Any, path: Path, notes: list[str]) -> tuple[tuple[float, ...], Any]:
    t = dataset.transform
    if t.is_identity and dataset.gcps[0]:
        raise InputError(
            f"{path} is placed by ground control points only; give it a regular grid first: gdalwarp IN OUT."
        )
    transform = tuple(float(v) for v in t[:6])
    if not np.isfinite(transform).all() or t.determinant == 0:
        raise InputError(
            f"{path} has a geotransform without area {transform}; assign one with gdal_edit -a_ullr."
        )
    if dataset.crs is None or not dataset.crs.wkt:
        notes.append("The image has no CRS, so areas are in pixels; assign one with gdal_edit -a_srs.")
        return transform, None
    if t.is_identity:
        notes.append("The image has a CRS but no geotransform, so its coordinates are pixel numbers.")
    return transform, dataset.crs


def _content_notes(dataset: Any, layout: _Layout, notes: list[str]) -> None:
    scaled = [b for b in layout.channels if dataset.scales[b - 1] != 1 or dataset.offsets[b - 1] != 0]
    if scaled:
        notes.append(f"Scale and offset of band {scaled[0]} are not applied: values are used as stored.")
    if any(dataset.colorinterp[b - 1] == ColorInterp.palette for b in layout.channels):
        notes.append("The band has a colour table: its values are indices, not intensities.")
    if dataset.subdatasets:
        notes.append(f"The file holds {len(dataset.subdatasets)} pages; only the first is used.")


def _wkt(crs: Any) -> str:
    """WKT that survives the way back: the older form keeps authority codes where it can say all."""
    try:
        wkt = str(crs.to_wkt())
        if CRS.from_wkt(wkt) == crs:
            return wkt
    except CRSError:
        # WKT 1 has no words for some coordinate systems.
        pass
    return str(crs.to_wkt(version="WKT2_2019"))


def _pixel_interleaved(dataset: Any) -> bool:
    return dataset.count > 1 and dataset.profile.get("interleave") == "pixel"


def _names(dataset: Any, channels: tuple[int, ...]) -> tuple[str, ...]:
    """Descriptions, ``band3`` where there is none; unique, as columns of tables are named after them."""
    wanted = [" ".join((dataset.descriptions[b - 1] or "").split()) or f"band{b}" for b in channels]
    # Letter case alone tells no columns apart in some formats; mean_confidence is a column already.
    given = {w.casefold() for w in wanted}
    taken, names = {"confidence"}, []
    for name in wanted:
        unique, n = name, 1 if name.casefold() == "confidence" else 2
        while unique.casefold() in (taken if unique is name else taken | given):
            unique, n = f"{name}_{n}", n + 1
        taken.add(unique.casefold())
        names.append(unique)
    return tuple(names)
