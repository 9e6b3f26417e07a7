"""Any raster behind the image protocol, read through one driver of GDAL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy.typing as npt
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from tasks.errors import InputError
from tasks.imagery.protocol import ImageInfo, Pixels, Window
from tasks.imagery.raster.gdal import Target, brief, gdal
from tasks.imagery.raster.inspect import inspect
from tasks.imagery.raster.layout import Layout, read_pixels
from tasks.imagery.wanted import Wanted

#: After so many fetches that failed in a row, each after its retries, the next ones are not retried.
PATIENCE = 3

Header = tuple[Layout, ImageInfo]


class RasterImage:
    """One raster, thread-safe: a pool holds a dataset handle per concurrent reader.

    An alpha band is a mask, not a channel, unless the model takes exactly as many
    channels as there are bands (GDAL tags a fourth uint8 band as alpha unasked, so
    near infrared often carries that name).

    Args:
        target: What GDAL opens.
        wanted: What is wanted of it.
        known: What an earlier opening found; the file is then opened at the first read.

    Raises:
        InputError: The file cannot be used as an image; the sentence says why.
    """

    def __init__(self, target: Target, wanted: Wanted | None = None, *, known: Header | None = None) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._idle: list[Any] = []
        self._closed = False
        self._failures = 0
        if known is not None:
            self._layout, self._info = known
            return
        with gdal(**dict(target.options)):
            dataset = self._open()
            try:
                self._layout, self._info = inspect(dataset, target, wanted or Wanted())
            except BaseException:
                dataset.close()
                raise
            self._idle.append(dataset)

    @property
    def info(self) -> ImageInfo:
        """What is known without reading pixels."""
        return self._info

    @property
    def header(self) -> Header:
        """What another opening may take as ``known``."""
        return self._layout, self._info

    def read(self, window: Window) -> Pixels:
        """Reads ``(rows, columns)``.

        Returns:
            Values ``(rows, columns, channels)``, C-contiguous, and their validity: every
            channel finite, unmasked and present. Where nodata is the lowest or highest value of an
            unsigned type (0 in most 8-bit imagery) it may be a measurement, dark water in near
            infrared for one: there a pixel is missing only if all its channels are, which is
            also how rasterio's ``dataset_mask`` reads it.

        Raises:
            InputError: A block is truncated or corrupt, or cannot be fetched.
        """
        with self._reading(window) as (dataset, where):
            return read_pixels(dataset, self._layout, where)

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
        options = dict(self._target.options)
        if self._failures >= PATIENCE:
            options |= {"GDAL_HTTP_MAX_RETRY": "0"}
        with gdal(**options), self._counting(), self._handle() as dataset:
            try:
                yield dataset, where
            except RasterioError as e:
                source = self._target.source
                why = "they cannot be fetched" if source.remote else "its blocks are damaged"
                remedy = "run again when the server answers" if source.remote else "fetch it again"
                raise InputError(
                    f"{source} cannot be read at rows {rows.start}–{rows.stop}, columns "
                    f"{columns.start}–{columns.stop}: {why}; {remedy}."
                ) from e

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Failures in a row: a server that is away costs every block its retries only a few times."""
        try:
            yield
        except InputError:
            self._failures += 1
            raise
        self._failures = 0

    def close(self) -> None:
        """Closes every handle; reading afterwards is an error."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for dataset in idle:
            dataset.close()

    def _open(self) -> Any:
        target = self._target
        try:
            return rasterio.open(target.name, driver=target.driver, sharing=False)
        except RasterioError as e:
            remedy = (
                "check the address and the credentials in the environment"
                if target.source.remote
                else "fetch or export it again"
            )
            raise InputError(
                f"{target.source} cannot be opened as {target.title} ({brief(e)}); {remedy}."
            ) from e

    @contextmanager
    def _handle(self) -> Iterator[Any]:
        with self._lock:
            if self._closed:
                raise ValueError(f"{self._target.source} is closed")
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
