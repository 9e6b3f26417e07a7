"""``--aoi``: polygons or a mask, as an area of the image's own pixels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.errors import InputError
from tasks.files import writing
from tasks.imagery.earth.globe import horizontal
from tasks.imagery.formats import NIFTI_SUFFIXES, TIFF_SUFFIXES
from tasks.imagery.open import open_image
from tasks.imagery.protocol import Image, ImageInfo
from tasks.previews.window import SNAP, bounds_of, full_turn, to_pixels
from tasks.tiling.area import Area, strips, write_area
from tasks.tiling.grid import Index

_Bits = npt.NDArray[np.bool_]
#: A polygon's edges are cut into pieces of this share of its size before they are carried elsewhere.
_PIECES = 256
#: Grids agree if no corner is further apart than this share of a pixel.
_SAME = 1e-3


def locate_aoi(path: Path, info: ImageInfo, *, folder: Path) -> Area:
    """The area that a file describes.

    Args:
        path: Polygons in any format and CRS that GDAL reads, or a mask on the image's grid.
        info: The image.
        folder: Takes the area's bitmap.

    Raises:
        InputError: It cannot be read, is of another grid, or does not meet the image.
        OutputError: ``folder`` cannot be written.
    """
    if not path.is_file():
        raise InputError(f"--aoi {path} is not there: give a file with polygons, or a mask")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if path.name.lower().endswith((*TIFF_SUFFIXES, *NIFTI_SUFFIXES)):
        mask = open_image(path, scratch=folder)
        try:
            area = _of_mask(mask, path, info, folder)
        finally:
            mask.close()
    else:
        area = _of_polygons(path, info, folder)
    if area is None:
        raise InputError(
            f"--aoi {path} does not meet {info.source}, which has {bounds_of(info)}: give another file"
        )
    return area


def _of_mask(mask: Image, path: Path, info: ImageInfo, folder: Path) -> Area | None:
    ndim = 2 if info.kind == "raster" else 3
    check_grid(mask.info, path, info)
    lead = len(info.shape) - ndim
    shape = info.shape[lead:]

    def bits(low: Index, high: Index) -> _Bits:
        window = tuple(slice(a, h) for a, h in zip(low, high, strict=True))
        pixels = mask.read(window)
        return np.asarray((pixels.values != 0).any(axis=-1) & pixels.valid)

    first, last = list(shape), [0] * ndim
    for low, high in strips((0,) * ndim, shape):
        inside = bits(low, high)
        for d in range(ndim):
            at = np.flatnonzero(inside.any(axis=tuple(i for i in range(ndim) if i != d)))
            if at.size:
                first[d] = min(first[d], low[d] + int(at[0]))
                last[d] = max(last[d], low[d] + int(at[-1]) + 1)
    if not all(last):
        return None
    low, high = (0,) * lead + tuple(first), info.shape[:lead] + tuple(last)
    return write_area(low, high, bits, lead=lead, folder=folder)


def check_grid(mask: ImageInfo, path: Path, info: ImageInfo) -> None:
    """Refuses a mask that is not on the image's grid.

    Raises:
        InputError: Another format, shape, place or CRS, or more than one frame.
    """
    remedy = "resample it to the image's grid, or give polygons"
    if mask.kind != info.kind or mask.axes[0] == "t":
        raise InputError(
            f"--aoi {path} is no mask for {info.source}: give one of the same format, with one frame"
        )
    shape = info.shape[-len(mask.shape) :]
    if mask.shape != shape:
        raise InputError(
            f"--aoi {path} has {_by(mask.shape)} pixels and {info.source} has {_by(shape)}: {remedy}"
        )
    if info.kind == "volume":
        have, want = (np.asarray(i.grid["affine"], float) * i.grid["unit_mm"] for i in (mask, info))
        n = np.array([*(max(shape),) * 3, 1.0])
        step = np.sqrt((want[:3, :3] ** 2).sum(axis=0)).min()
        apart = np.abs((have - want)[:3] * n).sum(axis=1).max() / step
    else:
        a, b, c, d, e, f = np.subtract(mask.grid["transform"], info.grid["transform"])
        corners = [(c + a * x + b * y, f + d * x + e * y) for x in (0, shape[1]) for y in (0, shape[0])]
        ia, ib, _, id_, ie, _ = info.grid["transform"]
        apart = max(math.hypot(*p) for p in corners) / math.sqrt(abs(ia * ie - ib * id_))
        if not _same_crs(mask.grid["crs"], info.grid["crs"]):
            raise InputError(f"--aoi {path} has another CRS than {info.source}: {remedy}")
    if apart > _SAME:
        raise InputError(
            f"--aoi {path} lies elsewhere than {info.source} ({apart:.3g} pixels apart): {remedy}"
        )


def _same_crs(a: str | None, b: str | None) -> bool:
    from rasterio.crs import CRS

    return a == b or (a is not None and b is not None and CRS.from_wkt(a) == CRS.from_wkt(b))


def _by(sizes: Index) -> str:
    return " × ".join(map(str, sizes))


def _of_polygons(path: Path, info: ImageInfo, folder: Path) -> Area | None:
    if info.kind != "raster":
        raise InputError(
            f"--aoi {path} has polygons and {info.source} is a volume: give a mask as NIfTI on its grid, or --window"
        )
    import shapely
    from rasterio.features import geometry_mask
    from rasterio.transform import Affine
    from rasterio.windows import Window
    from rasterio.windows import transform as window_transform

    shapes = _onto(_read(path), path, info)
    rows, columns = to_pixels(info, *shapely.get_coordinates(shapes).T)
    first = (max(0, math.floor(rows.min() + SNAP)), max(0, math.floor(columns.min() + SNAP)))
    last = (
        min(info.shape[0], math.ceil(rows.max() - SNAP)),
        min(info.shape[1], math.ceil(columns.max() - SNAP)),
    )
    if any(a >= h for a, h in zip(first, last, strict=True)):
        return None
    whole = Affine(*info.grid["transform"])

    def filled(*, all_touched: bool) -> Area | None:
        def bits(low: Index, high: Index) -> _Bits:
            return np.asarray(
                geometry_mask(
                    shapes,
                    (high[0] - low[0], high[1] - low[1]),
                    window_transform(Window(low[1], low[0], 1, 1), whole),
                    all_touched=all_touched,
                    invert=True,
                )
            )

        return write_area(first, last, bits, lead=0, folder=folder)

    # Pixels count by their centre; an area too small to hold any centre is the pixels it touches.
    return filled(all_touched=False) or filled(all_touched=True)


def _read(path: Path) -> Any:
    """The file's polygons as a ``GeoDataFrame``."""
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    try:
        layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
        if len(layers) != 1:
            raise InputError(
                f"--aoi {path} has {len(layers)} layers of shapes ({', '.join(layers[:5])}): "
                f"give a file with one, made by ogr2ogr OUT {path.name} LAYER"
            )
        frame = pyogrio.read_dataframe(path, layer=layers[0], columns=[], force_2d=True)
    except (DataSourceError, DataLayerError, ValueError) as error:
        text = " ".join(str(error).split())[:200]
        raise InputError(
            f"--aoi {path} cannot be read ({text}): give polygons as GeoJSON or GeoPackage, or a mask"
        ) from error
    found = frame.geometry.dropna() if "geometry" in frame else frame.iloc[:0]
    if not len(found) or not found.geom_type.isin(["Polygon", "MultiPolygon"]).all():
        kinds = ", ".join(sorted(set(found.geom_type))) if len(found) else "nothing"
        raise InputError(f"--aoi {path} holds {kinds} where polygons are needed: give polygons")
    return found


def _onto(polygons: Any, path: Path, info: ImageInfo) -> npt.NDArray[Any]:
    """Polygons in the image's CRS, edges following their own CRS; also a turn of the globe away."""
    import pyproj
    import shapely

    wkt = info.grid["crs"]
    if (wkt is None) != (polygons.crs is None):
        lacking = info.source if wkt is None else path
        raise InputError(
            f"{lacking} has no CRS, so --aoi {path} has no place in the image: assign one with gdal_edit.py "
            f"or ogr2ogr -a_srs"
        )
    shapes = shapely.make_valid(np.asarray(polygons.array, object))
    if wkt is None:
        return np.asarray(shapes)
    bounds = shapely.bounds(shapes)
    extent = np.maximum(bounds[:, 2:] - bounds[:, :2], 1e-12).max(axis=1)
    shapes = shapely.segmentize(shapes, extent / _PIECES)
    target = horizontal(pyproj.CRS.from_wkt(wkt))
    there = pyproj.Transformer.from_crs(polygons.crs, target, always_xy=True)

    def move(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.column_stack(there.transform(points[:, 0], points[:, 1]))

    moved = shapely.transform(shapes, move)
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise InputError(
            f"--aoi {path} reaches where the projection of {info.source} cannot, which has {bounds_of(info)}: cut it first"
        )
    return _near(moved, info, geographic=bool(target.is_geographic))


def _near(shapes: npt.NDArray[Any], info: ImageInfo, *, geographic: bool) -> npt.NDArray[Any]:
    """Adds what lies a turn to the east or west on a grid of longitudes; keeps what meets the image."""
    import shapely

    a, b, c, d, e, f = info.grid["transform"]
    height, width = info.shape
    corners = [
        (c + a * x + b * y, f + d * x + e * y) for x, y in ((0, 0), (width, 0), (width, height), (0, height))
    ]
    turn = full_turn(info) * abs(a) if geographic else 0.0
    shifts = (-turn, 0.0, turn) if turn else (0.0,)
    copies = [shapely.transform(shapes, lambda p, s=s: np.add(p, (s, 0.0))) for s in shifts]
    every = np.concatenate(copies)
    meeting = every[shapely.intersects(every, shapely.Polygon(corners))]
    return np.asarray(meeting if len(meeting) else every)
