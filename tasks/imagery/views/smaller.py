"""An image at the size of a picture, read without ever holding it in full."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.errors import InputError
from tasks.imagery.protocol import GdalFile, Image
from tasks.imagery.views.tolerant import read_values

logger = logging.getLogger(__name__)

#: Above this many pixels, without overviews, averaging costs more than it shows.
AVERAGE_LIMIT = 400_000_000
#: Bytes of an image that are held at once.
_BAND_BYTES = 32 << 20


def smaller(image: Image, shown: tuple[int, ...], shape: tuple[int, int]) -> npt.NDArray[Any]:
    """Channels of a raster at a lower resolution.

    Args:
        image: A raster.
        shown: Which of its channels.
        shape: Rows and columns wanted, no more than it has.

    Returns:
        ``(len(shown), *shape)``: means, or of images too large for that single pixels; 0 where it cannot
        be read.
    """
    info = image.info
    height, width = info.shape[-2:]
    if info.gdal is not None:
        top, left = info.grid.get("offset", (0, 0))
        window = ((top, top + height), (left, left + width))
        try:
            return from_gdal(info.gdal, shown, shape, window, categories=False)
        except InputError as error:
            # Damaged blocks have failed already, and are in the record; the picture leaves them out.
            logger.info("the picture is made of what can be read: %s", error)
            if info.source.remote:
                # Each of its blocks would be asked for, of a server that does not answer.
                return np.zeros((len(shown), *shape), info.dtype)
    if height * width > AVERAGE_LIMIT:
        return _single(image, shown, shape)
    return _means(image, shown, shape)


def _single(image: Image, shown: tuple[int, ...], shape: tuple[int, int]) -> npt.NDArray[Any]:
    height, width = image.info.shape[-2:]
    out = np.empty((len(shown), *shape), image.info.dtype)
    columns = ((np.arange(shape[1]) + 0.5) * width / shape[1]).astype(int)
    for i in range(shape[0]):
        row = int((i + 0.5) * height / shape[0])
        values = read_values(image, (slice(row, row + 1), slice(0, width)))[0]
        out[:, i] = values[columns][:, list(shown)].T
    return out


def _means(image: Image, shown: tuple[int, ...], shape: tuple[int, int]) -> npt.NDArray[Any]:
    info = image.info
    height, width = info.shape[-2:]
    column = np.arange(width) * shape[1] // width
    total = np.zeros((len(shown), *shape))
    count = np.zeros(shape)
    line = width * len(info.channels) * np.dtype(info.dtype).itemsize
    rows = max(1, min(height, _BAND_BYTES // max(1, line)))
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        values = read_values(image, (slice(start, stop), slice(0, width)))
        row = np.arange(start, stop) * shape[0] // height
        cell = row[:, None] * shape[1] + column[None, :]
        count += np.bincount(cell.reshape(-1), minlength=count.size).reshape(shape)
        for i, c in enumerate(shown):
            finite = np.nan_to_num(values[..., c].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
            total[i] += np.bincount(cell.reshape(-1), finite.reshape(-1), minlength=count.size).reshape(shape)
    means = total / count
    return means if np.dtype(info.dtype).kind == "f" else np.rint(means).astype(info.dtype)


def from_gdal(
    file: GdalFile,
    shown: tuple[int, ...],
    shape: tuple[int, int],
    window: tuple[tuple[int, int], tuple[int, int]],
    *,
    categories: bool,
) -> npt.NDArray[Any]:
    """Channels of a raster's window at a lower resolution; GDAL works strip by strip and prefers overviews.

    Declared nodata counts only where a cell holds nothing else.

    Args:
        file: What GDAL opens.
        shown: Which of its channels.
        shape: Rows and columns wanted.
        window: Rows and columns, each from and to.
        categories: Whether values are codes, of which the commonest is taken, rather than their mean.

    Raises:
        InputError: It cannot be read.
    """
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.errors import RasterioError

    from tasks.imagery.raster.gdal import gdal
    from tasks.imagery.raster.layout import scaled

    # Only TIFFs know the option; others would warn of it.
    threads = {"num_threads": "all_cpus"} if file.driver == "GTiff" else {}
    bands = [file.bands[i] for i in shown]
    try:
        with (
            gdal(**dict(file.options)),
            rasterio.open(file.name, driver=file.driver, sharing=False, **threads) as dataset,
        ):
            (top, bottom), (left, right) = window
            cheap = bool(dataset.overviews(bands[0])) or (right - left) * (bottom - top) <= AVERAGE_LIMIT
            smooth = Resampling.mode if categories else Resampling.average
            out: npt.NDArray[Any] = dataset.read(
                bands,
                window=window,
                out_shape=(len(bands), *shape),
                resampling=smooth if cheap else Resampling.nearest,
            )
    except RasterioError as error:
        raise InputError(
            f"{file.name[:200]} could not be read for the report ({error}); check that it is complete"
        ) from error
    if not file.scales:
        return out
    return np.stack([scaled(v, file.scales[i]) for v, i in zip(out, shown, strict=True)])
