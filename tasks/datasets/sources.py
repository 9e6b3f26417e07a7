"""Files of a data set read by windows: rasters, volumes and pictures behind one small protocol."""

from __future__ import annotations

import itertools
import math
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tasks.errors import InputError
from tasks.imagery.formats import NIFTI_SUFFIXES, TIFF_SUFFIXES
from tasks.imagery.open import open_image
from tasks.imagery.protocol import Image, ImageInfo, Pixels, Window
from tasks.imagery.wanted import Wanted

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
IMAGE_SUFFIXES = (*TIFF_SUFFIXES, *NIFTI_SUFFIXES, *PICTURE_SUFFIXES)
_MAGIC = {b"\x89PNG": "PNG", b"\xff\xd8": "JPEG", b"BM": "BMP"}
#: How far two grids' corners may lie apart, in pixels: what headers of 32-bit floats round to.
GRID_TOLERANCE = 0.05


@dataclass(frozen=True)
class Grid:
    """Where pixels lie: an index-to-world matrix, and the coordinate system as WKT where there is one."""

    matrix: tuple[tuple[float, ...], ...]
    crs: str | None


class Source(Protocol):
    """An open file (or several on one grid); ``read`` may be called from several threads."""

    shape: tuple[int, ...]
    channels: int
    dtype: np.dtype[Any]
    spacing: tuple[float, ...] | None
    grid: Grid | None
    chunk: tuple[int, ...]
    nodata: float | None

    def read(self, window: Window) -> Pixels:
        """``(*window, channels)`` in the file's dtype, and ``(*window)`` validity."""
        ...

    def close(self) -> None:
        """Gives files back."""
        ...


class ImageSource:
    """A GeoTIFF or NIfTI image."""

    def __init__(self, path: Path, *, scratch: Path, channels: int | None = None) -> None:
        self._image: Image = open_image(path, scratch=scratch, wanted=Wanted(count=channels))
        info = self._image.info
        if "t" in info.axes:
            frames = info.shape[0]
            self._image.close()
            wanted = "one channel" if channels is None else f"{channels} channels"
            raise InputError(
                f"{path} holds {frames} frames, but the data set has {wanted} an image; name as many channels "
                "in the data set's file, or split the frames into files."
            )
        self.shape, self.channels, self.dtype = info.shape, len(info.channels), np.dtype(info.dtype)
        self.spacing, self.grid = _spacing(info), _grid(info)
        self.chunk, self.nodata = info.chunk, info.nodata

    def read(self, window: Window) -> Pixels:
        return self._image.read(window)

    def close(self) -> None:
        self._image.close()


class PictureSource:
    """A PNG, JPEG or BMP file, by rows; an alpha band says what is valid.

    Palettes are left alone: their indices are the values, as masks want it.
    """

    spacing: tuple[float, ...] | None = None
    grid: Grid | None = None
    nodata: float | None = None

    def __init__(self, path: Path, *, channels: int | None = None) -> None:
        from rasterio.enums import ColorInterp
        from rasterio.errors import RasterioError

        self._path, self._lock = path, threading.Lock()
        try:
            self._file = _open_picture(path)
        except RasterioError as error:
            brief = " ".join(str(error).split())[:160]
            raise InputError(f"{path} cannot be opened as a picture ({brief}); fetch it again.") from error
        bands = range(1, self._file.count + 1)
        alpha = [b for b in bands if self._file.colorinterp[b - 1] == ColorInterp.alpha]
        self._alpha = None if not alpha or channels == self._file.count else alpha[0]
        self._bands = [b for b in bands if b != self._alpha]
        self.shape: tuple[int, ...] = (int(self._file.height), int(self._file.width))
        self.channels, self.dtype = len(self._bands), np.dtype(self._file.dtypes[0])
        self.chunk: tuple[int, ...] = (1, self.shape[1])

    def read(self, window: Window) -> Pixels:
        from rasterio.errors import RasterioError
        from rasterio.windows import Window as RasterWindow

        rows, columns = window
        where = RasterWindow(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        try:
            with self._lock, _strict():
                bands = self._file.read(self._bands, window=where)
                alpha = None if self._alpha is None else self._file.read(self._alpha, window=where)
        except RasterioError as error:
            raise InputError(
                f"{self._path} cannot be read at rows {rows.start}–{rows.stop}: it is damaged or cut short; "
                "fetch it again."
            ) from error
        values = np.ascontiguousarray(np.moveaxis(bands, 0, -1))
        return Pixels(values, np.ones(values.shape[:-1], bool) if alpha is None else alpha != 0)

    def close(self) -> None:
        with self._lock:
            self._file.close()


class StackSource:
    """Several files on one grid (modalities, bands), their channels one after the other."""

    def __init__(self, sources: list[Source], paths: tuple[Path, ...]) -> None:
        first = sources[0]
        for source, path in zip(sources[1:], paths[1:], strict=True):
            problem = grid_difference(first, source)
            if problem:
                raise InputError(
                    f"{path} and {paths[0]} are one image but {problem}; resample one to the other."
                )
        self._sources = sources
        self.shape, self.spacing, self.grid = first.shape, first.spacing, first.grid
        self.chunk, self.nodata = first.chunk, first.nodata
        self.channels = sum(source.channels for source in sources)
        self.dtype = np.result_type(*(source.dtype for source in sources))

    def read(self, window: Window) -> Pixels:
        parts = [source.read(window) for source in self._sources]
        values = np.concatenate([part.values for part in parts], axis=-1, dtype=self.dtype)
        return Pixels(values, np.logical_and.reduce([part.valid for part in parts]))

    def close(self) -> None:
        for source in self._sources:
            source.close()


class GreyAsColour:
    """A grey picture in a data set of colour pictures: its one band three times."""

    channels = 3

    def __init__(self, source: Source) -> None:
        self._source = source
        self.shape, self.dtype, self.spacing = source.shape, source.dtype, source.spacing
        self.grid, self.chunk, self.nodata = source.grid, source.chunk, source.nodata

    def read(self, window: Window) -> Pixels:
        pixels = self._source.read(window)
        return Pixels(np.repeat(pixels.values, 3, axis=-1), pixels.valid)

    def close(self) -> None:
        self._source.close()


def open_source(path: Path, *, scratch: Path, channels: int | None = None) -> Source:
    """Opens one file of a data set by its name.

    Raises:
        InputError: Missing, damaged, or of a kind that cannot be read.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; put the file there or take it out of the data set.")
    if path.name.lower().endswith(PICTURE_SUFFIXES):
        return PictureSource(path, channels=channels)
    return ImageSource(path, scratch=scratch, channels=channels)


def open_images(
    paths: tuple[Path, ...], *, scratch: Path, channels: int | None = None, grey_as_colour: bool = False
) -> Source:
    """Opens the file, or the files, of one image.

    Args:
        paths: In channel order, on one grid.
        scratch: Folder for inflated volumes.
        channels: Of the data set, if known.
        grey_as_colour: Whether one band stands for three where the data set has three.

    Raises:
        InputError: A file cannot be read, or the files do not fit each other.
    """
    opened: list[Source] = []
    try:
        for path in paths:
            opened.append(open_source(path, scratch=scratch, channels=channels if len(paths) == 1 else None))
        if len(opened) > 1:
            return StackSource(opened, paths)
    except BaseException:
        for source in opened:
            source.close()
        raise
    if grey_as_colour and channels == 3 and opened[0].channels == 1:
        return GreyAsColour(opened[0])
    return opened[0]


def grid_difference(one: Source, other: Source) -> str | None:
    """What keeps two files from lying pixel on pixel, in words; None if nothing does.

    A file without a grid of its own (a PNG mask of a GeoTIFF) is taken by its shape.
    """
    if one.shape != other.shape:
        return f"differ in shape: {_by(one.shape)} and {_by(other.shape)}"
    a, b = one.grid, other.grid
    if a is None or b is None:
        return None
    if a.crs is not None and b.crs is not None and not _same_crs(a.crs, b.crs):
        return "differ in CRS"
    m, n = np.array(a.matrix), np.array(b.matrix)
    corners = np.array(list(itertools.product(*((0, size) for size in one.shape))), float)
    points = np.hstack([corners, np.ones((len(corners), 1))])
    shift = np.linalg.norm(points @ (m - n).T[:, :-1], axis=1).max()
    pixel = np.linalg.norm(m[:-1, :-1], axis=0).min()
    if shift > GRID_TOLERANCE * pixel:
        return f"lie up to {shift / pixel:.3g} pixels apart (transform or affine differ)"
    return None


def _by(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _strict() -> Any:
    import rasterio

    # Otherwise a cut JPEG comes back grey below the cut, and a cut PNG with whatever was in memory.
    return rasterio.Env(GDAL_ERROR_ON_LIBJPEG_WARNING="TRUE", GDAL_PNG_WHOLE_IMAGE_OPTIM="NO")


def _open_picture(path: Path) -> Any:
    import rasterio
    from rasterio.errors import RasterioIOError

    with path.open("rb") as stream:
        head = stream.read(4)
    # by content: pictures often carry the wrong suffix
    driver = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)
    if driver is None:
        raise RasterioIOError("neither PNG, JPEG nor BMP by its first bytes")
    with _strict():
        return rasterio.open(path.absolute(), driver=driver, sharing=False)


def _same_crs(one: str, other: str) -> bool:
    if one == other:
        return True
    from rasterio.crs import CRS

    return bool(CRS.from_wkt(one) == CRS.from_wkt(other))


def _spacing(info: ImageInfo) -> tuple[float, ...] | None:
    if info.kind == "volume":
        return tuple(info.grid["spacing"])
    if info.grid["crs"] is None:
        return None
    from rasterio.crs import CRS

    crs = CRS.from_wkt(info.grid["crs"])
    if not crs.is_projected:
        return None
    a, b, _, d, e, _ = info.grid["transform"]
    unit = float(crs.linear_units_factor[1])
    return (math.hypot(b, e) * unit, math.hypot(a, d) * unit)


def _grid(info: ImageInfo) -> Grid | None:
    """Index (slowest axis first, corners of pixels at whole numbers) to world."""
    if info.kind == "volume":
        from tasks.imagery.volume.orientation import native_index

        size = len(info.shape)
        probes = np.vstack([np.zeros(size), np.eye(size)])
        native = np.hstack([native_index(info, probes), np.ones((size + 1, 1))])
        world = (native @ np.array(info.grid["affine"]).T)[:, :3]
        matrix = np.eye(size + 1)
        matrix[:size, size] = world[0]
        matrix[:size, :size] = (world[1:] - world[0]).T
        return Grid(_rows(matrix), None)
    a, b, c, d, e, f = info.grid["transform"]
    if info.grid["crs"] is None and (a, b, c, d, e, f) == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0):
        return None
    return Grid(((b, a, c), (e, d, f), (0.0, 0.0, 1.0)), info.grid["crs"])


def _rows(matrix: npt.NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(v) for v in row) for row in matrix)
