"""What is known of a raster without reading its pixels, and what is refused for it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import CRSError

from tasks.errors import InputError
from tasks.imagery.bands import raster_bands
from tasks.imagery.earth.globe import goes_round
from tasks.imagery.protocol import GdalFile, ImageInfo
from tasks.imagery.raster.gdal import Target
from tasks.imagery.raster.layout import Layout, layout_of, scaled
from tasks.imagery.raster.tiff_header import MAX_PIXELS
from tasks.imagery.wanted import Wanted

#: Above this, one storage block is worth a warning: a window cannot be read with less memory.
LARGE_BLOCK_BYTES = 256 << 20
#: Above this, a storage block of an address is worth a warning: any window fetches as much.
LARGE_FETCH_BYTES = 16 << 20


def inspect(dataset: Any, target: Target, wanted: Wanted) -> tuple[Layout, ImageInfo]:
    """Layout and header of an open dataset.

    Raises:
        InputError: It cannot be used as an image; the sentence says why.
    """
    title = str(target.source)
    _check_overviews(dataset, title)
    _check_size(dataset, title)
    notes: list[str] = []
    layout = layout_of(dataset, title, wanted, notes)
    dtype = np.dtype(layout.dtype)
    transform, crs = _grid(dataset, title, notes)
    _content_notes(dataset, layout, notes)
    blocks = dataset.block_shapes[layout.channels[0] - 1]
    _block_notes(dataset, target, layout, blocks, notes)
    info = ImageInfo(
        source=target.source,
        format=target.format,
        kind="raster",
        field="earth",
        shape=(dataset.height, dataset.width),
        axes=("y", "x"),
        channels=(names := names_of(dataset, layout.channels)),
        dtype=dtype.name,
        wraps=(False, crs is not None and goes_round(_wkt(crs), transform, dataset.shape)),
        chunk=(int(blocks[0]), int(blocks[1])),
        nodata=_nodata(dataset, layout),
        grid={
            "crs": None if crs is None else _wkt(crs),
            "transform": transform,
            # Files beside the image that GDAL read too (.tfw, .aux.xml, .msk, .ovr).
            "sidecars": [] if target.alone else [Path(f).name for f in dataset.files[1:]],
        },
        notes=tuple(notes),
        gdal=GdalFile(target.name, target.driver, layout.channels, layout.scales, target.options),
        bands=raster_bands(dataset, layout.channels, names, title),
    )
    return layout, info


def _check_overviews(dataset: Any, title: str) -> None:
    """Before GDAL looks for overviews: their file's name may lead anywhere, the network included."""
    elsewhere = dataset.tags(ns="OVERVIEWS").get("OVERVIEW_FILE")
    if elsewhere is not None:
        raise InputError(
            f"{title} names {elsewhere} for its overviews, and no image may name other files; remove that with "
            "gdaladdo -clean, or export it again."
        )


def _check_size(dataset: Any, title: str) -> None:
    if dataset.count == 0:
        raise InputError(f"{title} has no bands; export it again with at least one.")
    if dataset.width * dataset.height > MAX_PIXELS:
        raise InputError(
            f"{title} claims {dataset.width} × {dataset.height} pixels, more than the {MAX_PIXELS:.0e} allowed; "
            "cut it with gdal_translate -srcwin, or check that the header is not damaged."
        )
    if any(name.startswith("complex") for name in dataset.dtypes):
        raise InputError(f"{title} holds complex numbers; export amplitude or another real quantity.")


def _nodata(dataset: Any, layout: Layout) -> float | None:
    """The first channel's value for missing pixels, as values are given."""
    for i, band in enumerate(layout.channels):
        stored = dataset.nodatavals[band - 1]
        if stored is not None:
            return float(scaled(np.asarray(stored), layout.scales[i])) if layout.scales else stored
    return None


def _block_notes(
    dataset: Any, target: Target, layout: Layout, blocks: tuple[int, int], notes: list[str]
) -> None:
    bands_a_block = dataset.count if _pixel_interleaved(dataset) else 1
    itemsize = np.dtype(dataset.dtypes[layout.channels[0] - 1]).itemsize
    block_bytes = math.prod(blocks) * bands_a_block * itemsize
    if block_bytes > LARGE_BLOCK_BYTES:
        notes.append(
            f"One storage block holds {block_bytes / 2**20:.0f} MiB, so any window needs as much memory; "
            "rewrite it with gdal_translate -co TILED=YES."
        )
    elif target.source.remote and block_bytes > LARGE_FETCH_BYTES:
        notes.append(
            f"One storage block holds {block_bytes / 2**20:.0f} MiB, and any window fetches whole blocks; a COG "
            "(gdal_translate -of COG) is fetched in small ones."
        )


#: Formats that seldom have a place on Earth, and cannot hold one themselves.
_PICTURES = {"PNG", "JPEG", "BMP", "GIF", "WEBP"}


def _grid(dataset: Any, title: str, notes: list[str]) -> tuple[tuple[float, ...], Any]:
    t = dataset.transform
    if t.is_identity and dataset.gcps[0]:
        raise InputError(
            f"{title} is placed by ground control points only; give it a regular grid first: gdalwarp IN OUT."
        )
    if t.is_identity and dataset.rpcs is not None:
        raise InputError(
            f"{title} is placed by rational polynomials (RPC) only; give it a regular grid first: "
            "gdalwarp -rpc IN OUT."
        )
    if t.is_identity and dataset.tags(ns="GEOLOCATION"):
        raise InputError(
            f"{title} is placed by arrays of coordinates only; give it a regular grid first: "
            "gdalwarp -geoloc IN OUT."
        )
    transform = tuple(float(v) for v in t[:6])
    if not np.isfinite(transform).all() or t.determinant == 0:
        raise InputError(
            f"{title} has a geotransform without area {transform}; assign one with gdal_edit -a_ullr."
        )
    if dataset.crs is None or not dataset.crs.wkt:
        if dataset.driver in _PICTURES:
            notes.append("The image says nothing of its place on Earth, so sizes are in pixels.")
        else:
            notes.append("The image has no CRS, so areas are in pixels; assign one with gdal_edit -a_srs.")
        return transform, None
    if t.is_identity:
        notes.append("The image has a CRS but no geotransform, so its coordinates are pixel numbers.")
    return transform, dataset.crs


def _content_notes(dataset: Any, layout: Layout, notes: list[str]) -> None:
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


def names_of(dataset: Any, channels: tuple[int, ...]) -> tuple[str, ...]:
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
