"""NetCDF and HDF5: one of the rasters that such a file holds, by its name.

HDF5 can keep values in any other file of the machine: such a file is refused before GDAL sees it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import RasterioError

from tasks.errors import InputError
from tasks.imagery.raster.dataset import RasterImage
from tasks.imagery.raster.drivers import starts_with
from tasks.imagery.raster.gdal import Target, brief, gdal
from tasks.imagery.source import Source
from tasks.imagery.wanted import Wanted

#: Names that a sentence lists at most.
LISTED = 12
#: More objects than this in one file are refused.
MOST_OBJECTS = 100_000
_CLASSIC = (b"CDF\x01", b"CDF\x02", b"CDF\x05")


@dataclass(frozen=True)
class _Kind:
    """How GDAL names a file of several rasters, and one of them."""

    format: str
    title: str
    container: str
    driver: str
    prefix: str


NETCDF = _Kind("netcdf", "a NetCDF file", "netCDF", "netCDF", "NETCDF")
HDF5 = _Kind("hdf5", "an HDF5 file", "HDF5", "HDF5Image", "HDF5")


def open_netcdf(source: Source, *, scratch: Path, wanted: Wanted) -> RasterImage:
    """Opens a NetCDF file; see ``tasks.imagery.formats.Format``.

    Raises:
        InputError: It cannot be used, or holds several rasters and none is named.
    """
    path = source.local
    if not starts_with(path, _CLASSIC):
        _check_hdf5(path, "NetCDF file")
    return _open(source, path, NETCDF, wanted)


def open_hdf5(source: Source, *, scratch: Path, wanted: Wanted) -> RasterImage:
    """Opens an HDF5 file; see ``tasks.imagery.formats.Format``.

    Raises:
        InputError: It cannot be used, or holds several rasters and none is named.
    """
    path = source.local
    _check_hdf5(path, "HDF5 file")
    return _open(source, path, HDF5, wanted)


def _open(source: Source, path: Path, kind: _Kind, wanted: Wanted) -> RasterImage:
    absolute = str(path.absolute())
    if '"' in absolute:
        raise InputError(f"{path} has a quotation mark in its name, which GDAL cannot take: rename it.")
    names = _names(path, absolute, kind)
    layer = wanted.reading.layer
    if layer is None:
        if len(names) != 1:
            raise InputError(
                f"{path} holds {len(names)} rasters ({_listed(names)}): name one with --layer."
                if names
                else f"{path} holds no raster; export the image as GeoTIFF."
            )
        layer = next(iter(names))
    if layer not in names:
        raise InputError(f"{path} has no raster {layer!r} ({_listed(names)}): name one of them with --layer.")
    target = Target(source, names[layer], kind.driver, kind.format, kind.title, alone=True)
    return RasterImage(target, wanted)


def _names(path: Path, absolute: str, kind: _Kind) -> dict[str, str]:
    """GDAL's name of each raster in the file, by its own name."""
    try:
        with gdal(), rasterio.open(absolute, driver=kind.container, sharing=False) as dataset:
            found = list(dataset.subdatasets)
            alone = dataset.tags().get("NETCDF_VARNAME") or path.stem if dataset.count else None
    except RasterioError as e:
        raise InputError(
            f"{path} cannot be opened as {kind.title} ({brief(e)}); fetch or export it again."
        ) from e
    if found:
        # KIND:"path":name; a path may hold colons, so what follows its closing quote counts.
        return {_own(name, absolute): name for name in sorted(found)}
    if alone is not None and kind is NETCDF:
        return {alone: absolute}
    return {} if kind is NETCDF else _single(absolute, kind)


def _single(absolute: str, kind: _Kind) -> dict[str, str]:
    """The one raster of an HDF5 file, of which GDAL makes no list."""
    import h5py

    found: list[str] = []
    with h5py.File(absolute, "r") as file:
        file.visititems(
            lambda name, node: (
                found.append(name) if isinstance(node, h5py.Dataset) and node.ndim > 1 else None
            )
        )
    return {name: f'{kind.prefix}:"{absolute}"://{name}' for name in found}


def _own(name: str, absolute: str) -> str:
    rest = name.partition(absolute)[2].lstrip('"').lstrip(":")
    return rest.lstrip("/")


def _listed(names: dict[str, str]) -> str:
    shown = list(names)[:LISTED]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _check_hdf5(path: Path, title: str) -> None:
    """Refuses what is no HDF5, and one whose values lie elsewhere."""
    import h5py

    if not h5py.is_hdf5(path):
        raise InputError(
            f"{path} is not a {title} although its name says so; rename it, or export the image as GeoTIFF."
            if title.startswith("N")
            else f"{path} is not an {title} although its name says so; rename it, or export the image as GeoTIFF."
        )
    try:
        with h5py.File(path, "r") as file:
            _check_group(file, path)
    except (OSError, RuntimeError, KeyError) as e:
        raise InputError(f"{path} is a damaged {title} ({brief(e)}); fetch or export it again.") from e


def _check_group(file: Any, path: Path) -> None:
    """Every link, none of them followed out of the file."""
    import h5py

    pending, seen, count = [file["/"]], {hash(file["/"].id)}, 0
    while pending:
        group = pending.pop()
        for name in group:
            count += 1
            if count > MOST_OBJECTS:
                raise InputError(f"{path} holds more than {MOST_OBJECTS} objects; export one raster of it.")
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise InputError(_elsewhere(path, f"{group.name}/{name}", link.filename))
            if isinstance(link, h5py.SoftLink):
                continue
            node = group[name]
            if isinstance(node, h5py.Group):
                if hash(node.id) not in seen:
                    seen.add(hash(node.id))
                    pending.append(node)
            elif isinstance(node, h5py.Dataset):
                if node.external:
                    raise InputError(_elsewhere(path, node.name, node.external[0][0]))
                if node.is_virtual:
                    raise InputError(_elsewhere(path, node.name, node.virtual_sources()[0].file_name))


def _elsewhere(path: Path, name: str, file: str) -> str:
    return (
        f"{path} keeps {name.lstrip('/')} in another file ({file}), and no image may name other files; export it as "
        "one file."
    )
