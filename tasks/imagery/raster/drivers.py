"""Rasters of other formats that GDAL reads from one file: each by its own header and one driver."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.errors import InputError
from tasks.imagery.raster.dataset import RasterImage
from tasks.imagery.raster.gdal import Target, check_beside
from tasks.imagery.raster.remote import open_remote
from tasks.imagery.source import Source
from tasks.imagery.wanted import Wanted


@dataclass(frozen=True)
class Driver:
    """A driver of GDAL that reads one kind of file.

    Attributes:
        name: GDAL's.
        format: Its name in :data:`tasks.imagery.formats.FORMATS`.
        title: For people, with its article.
        magics: What its files begin with.
    """

    name: str
    format: str
    title: str
    magics: tuple[bytes, ...]


JPEG2000 = Driver(
    "JP2OpenJPEG",
    "jpeg2000",
    "a JPEG 2000 image",
    (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
)
ERDAS = Driver("HFA", "erdas", "an ERDAS image", (b"EHFA_HEADER_TAG",))
PNG = Driver("PNG", "png", "a PNG", (b"\x89PNG\r\n\x1a\n",))
JPEG = Driver("JPEG", "jpeg", "a JPEG", (b"\xff\xd8\xff",))
ENVI = Driver("ENVI", "envi", "an ENVI raster", (b"",))


def open_jpeg2000(source: Source, *, scratch: Path, wanted: Wanted) -> RasterImage:
    """Opens a JPEG 2000 image; see ``tasks.imagery.formats.Format``."""
    return _open(source, wanted, JPEG2000, remote=True)


def open_erdas(source: Source, *, scratch: Path, wanted: Wanted) -> RasterImage:
    """Opens an ``.img``: ERDAS, or ENVI where a header of that kind lies beside it."""
    path = source.local
    if not starts_with(path, ERDAS.magics) and envi_header(path) is not None:
        return open_envi(source, scratch=scratch, wanted=wanted)
    return _open(source, wanted, ERDAS)


def open_png(source: Source, *, scratch: Path, wanted: Wanted) -> RasterImage:
    """Opens a PNG; see ``tasks.imagery.formats.Format``."""
    return _open(source, wanted, PNG, remote=True)


def open_jpeg(source: Source, *, scratch: Path, wanted: Wanted) -> RasterImage:
    """Opens a JPEG; see ``tasks.imagery.formats.Format``."""
    return _open(source, wanted, JPEG, remote=True)


def open_envi(source: Source, *, scratch: Path, wanted: Wanted) -> RasterImage:
    """Opens the data file of an ENVI raster, whose header lies beside it.

    Raises:
        InputError: There is no such header, or the data are shorter than it claims.
    """
    path = source.local
    if envi_header(path) is None:
        raise InputError(
            f"{path} has no ENVI header beside it ({path.stem}.hdr that begins with ENVI) and is of no format known "
            "here; copy the header too, or export the image as GeoTIFF."
        )
    image = _open(source, wanted, ENVI)
    _check_envi_size(path, image)
    return image


def envi_header(path: Path) -> Path | None:
    """The ENVI header of a data file, if it has one."""
    for header in (path.with_suffix(".hdr"), path.with_name(path.name + ".hdr")):
        if header.is_file() and starts_with(header, (b"ENVI",)):
            return header
    return None


def _check_envi_size(path: Path, image: RasterImage) -> None:
    """Raw data have no header of their own: what is missing would be read as zeros."""
    import rasterio

    from tasks.imagery.raster.gdal import gdal

    with gdal(), rasterio.open(path.absolute(), driver="ENVI") as dataset:
        needed = dataset.width * dataset.height * sum(_bytes(t) for t in dataset.dtypes)
        packed = dataset.tags(ns="ENVI").get("file_compression", "0") != "0"
    if not packed and path.stat().st_size < needed:
        image.close()
        raise InputError(
            f"{path} is truncated: its header claims {needed} bytes of pixels but it ends at "
            f"{path.stat().st_size}; fetch it again."
        )


def _bytes(dtype: str) -> int:
    import numpy as np

    return int(np.dtype(dtype).itemsize)


def starts_with(path: Path, magics: tuple[bytes, ...]) -> bool:
    """Whether a file begins with one of these."""
    with path.open("rb") as f:
        head = f.read(max(len(m) for m in magics))
    return head.startswith(magics)


def _open(source: Source, wanted: Wanted, driver: Driver, *, remote: bool = False) -> RasterImage:
    if remote and source.remote:
        return open_remote(source, wanted, driver=driver.name, format_name=driver.format, title=driver.title)
    path = source.local
    if not starts_with(path, driver.magics):
        raise InputError(
            f"{path} is not {driver.title} although its name says so; rename it, or export the image as GeoTIFF."
        )
    check_beside(path)
    return RasterImage(Target(source, str(path.absolute()), driver.name, driver.format, driver.title), wanted)
