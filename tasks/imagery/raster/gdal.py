"""GDAL, bounded: what a process may cache, and what GDAL is told to open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import rasterio

from tasks.errors import InputError
from tasks.imagery.raster.tiff_header import is_tiff
from tasks.imagery.source import Source

#: GDAL's block cache, for the whole process.
CACHE_BYTES = 64 << 20


@dataclass(frozen=True)
class Target:
    """What GDAL opens, and as what.

    Attributes:
        source: What the user named.
        name: GDAL's name of it: a path, ``/vsis3/…``, a subdataset's, or the text of a virtual raster.
        driver: The one driver that may open it.
        format: Its name in :data:`tasks.imagery.formats.FORMATS`.
        title: Its format for people.
        options: GDAL's configuration while it is read.
        alone: Whether nothing beside it is read too.
    """

    source: Source
    name: str
    driver: str
    format: str
    title: str
    options: tuple[tuple[str, str], ...] = ()
    alone: bool = False


@contextmanager
def gdal(**options: str) -> Iterator[None]:
    """GDAL with a bounded block cache and further configuration ``options``; no virtual raster runs code."""
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, GDAL_VRT_ENABLE_PYTHON="NO", **options):
        yield


def brief(e: Exception) -> str:
    """The message of GDAL's error, short."""
    return " ".join(str(e).split())[:200] or type(e).__name__


def check_beside(path: Path) -> None:
    """Refuses masks and overviews beside a file that are no TIFFs: GDAL would open them with any driver.

    Raises:
        InputError: A ``.msk`` or ``.ovr`` could name other files or addresses.
    """
    for suffix in (".msk", ".MSK", ".ovr", ".OVR", ".msk.ovr"):
        beside = path.with_name(path.name + suffix)
        if not beside.is_file():
            continue
        with beside.open("rb") as f:
            if not is_tiff(f.read(4)):
                raise InputError(f"{beside} lies beside {path} and is not a TIFF: remove it.")
