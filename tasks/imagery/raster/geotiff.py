"""GeoTIFF: the header is checked by hand before GDAL's GTiff driver reads it."""

from __future__ import annotations

from pathlib import Path

from tasks.errors import InputError
from tasks.imagery.raster.dataset import RasterImage
from tasks.imagery.raster.gdal import Target, check_beside
from tasks.imagery.raster.remote import open_remote
from tasks.imagery.raster.tiff_header import check_tiff, is_tiff
from tasks.imagery.source import Source
from tasks.imagery.wanted import Wanted


def open_geotiff(source: Source, *, scratch: Path, wanted: Wanted) -> RasterImage:
    """Opens a GeoTIFF, local or at an address; see ``tasks.imagery.formats.Format``.

    Raises:
        InputError: It cannot be used as an image.
    """
    if source.remote:
        return open_remote(source, wanted, driver="GTiff", format_name="geotiff", title="a GeoTIFF")
    path = source.local
    with path.open("rb") as f:
        if not is_tiff(f.read(4)):
            raise InputError(f"{path} is not a TIFF although its name says so; export the image as GeoTIFF.")
    check_tiff(path)
    check_beside(path)
    target = Target(source, str(path.absolute()), "GTiff", "geotiff", "a GeoTIFF")
    return RasterImage(target, wanted)
