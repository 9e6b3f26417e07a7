"""Vector labels burned onto the image's grid, window by window."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.datasets.sources import Grid
from tasks.datasets.truths import UNKNOWN
from tasks.errors import InputError
from tasks.imagery.protocol import Window

VECTOR_SUFFIXES = (".gpkg", ".geojson", ".shp", ".fgb")


class VectorTruth:
    """Polygons of a file as classes; later features lie over earlier ones.

    A pixel belongs to a shape that holds its centre (or that touches it, if asked), whatever
    window is read. Shapes are moved to the image's coordinate system vertex by vertex.

    Args:
        path: GeoPackage, GeoJSON, shapefile or FlatGeobuf.
        shape: Rows and columns of the image.
        grid: Of the image; it must have a coordinate system.
        attribute: Field that says the class; None makes every shape ``codes[""]``.
        codes: The attribute's value as text → class code, or −1 for nothing known.
        outside: Class code outside every shape; None where nothing is known there.
        layer: Of the file; its first by default.
        all_touched: Whether touched pixels count too.

    Raises:
        InputError: The file cannot be read, has no such attribute, or no coordinate system.
    """

    def __init__(
        self,
        path: Path,
        *,
        shape: tuple[int, ...],
        grid: Grid | None,
        attribute: str | None,
        codes: Mapping[str, int],
        outside: int | None,
        layer: str | None = None,
        all_touched: bool = False,
    ) -> None:
        import pyogrio

        if grid is None or grid.crs is None:
            raise InputError(
                f"{path}: its image has no CRS, so shapes have no place on it; assign one with gdal_edit -a_srs."
            )
        try:
            info = pyogrio.read_info(path, layer=layer)
        except Exception as error:
            raise InputError(
                f"{path} cannot be read as vector labels ({' '.join(str(error).split())[:160]})."
            ) from error
        if attribute is not None and attribute not in info["fields"]:
            fields = ", ".join(map(str, info["fields"])) or "none"
            raise InputError(
                f"{path} has no attribute {attribute!r}; it has {fields}: correct 'attribute' in dataset.json."
            )
        if not info["crs"]:
            raise InputError(f"{path} has no CRS; assign one with ogr2ogr -a_srs.")
        self._path, self._layer, self._crs = path, layer, str(info["crs"])
        self.shape = shape
        self.grid: Grid | None = grid
        self._matrix, self._image_crs = grid.matrix, grid.crs
        self._attribute, self._codes, self._outside = attribute, dict(codes), outside
        self._all_touched = all_touched

    def raw(self, window: Window) -> npt.NDArray[np.int32]:
        from affine import Affine
        from rasterio.features import rasterize

        (b, a, c), (e, d, f), _ = self._matrix
        rows, columns = window
        size = (rows.stop - rows.start, columns.stop - columns.start)
        transform = Affine(a, b, c, d, e, f) @ Affine.translation(columns.start, rows.start)
        fill = UNKNOWN if self._outside is None else self._outside
        shapes = self._shapes(transform, size)
        if not shapes:
            return np.full(size, fill, np.int32)
        burned = rasterize(
            shapes,
            out_shape=size,
            fill=fill,
            transform=transform,
            all_touched=self._all_touched,
            dtype="int32",
        )
        return np.asarray(burned, np.int32)

    def close(self) -> None:
        """Nothing stays open."""

    def _shapes(self, transform: Any, size: tuple[int, int]) -> list[tuple[Any, int]]:
        """Shapes near a window in the image's coordinates, in the order of the file."""
        import pyogrio
        from pyproj import CRS
        from rasterio.transform import array_bounds
        from rasterio.warp import transform_bounds

        from tasks.imagery.earth.globe import horizontal

        crs = self._image_crs
        # two pixels more on each side: bounds of a turned grid bulge between their corners
        grown = array_bounds(size[0] + 4, size[1] + 4, transform @ type(transform).translation(-2, -2))
        bounds = transform_bounds(crs, self._crs, *grown, densify_pts=21)
        frame = pyogrio.read_dataframe(
            self._path,
            layer=self._layer,
            columns=[] if self._attribute is None else [self._attribute],
            bbox=tuple(bounds),
            fid_as_index=True,
        )
        # a spatial index gives features in an order of its own
        frame = frame[frame.geometry.notna() & ~frame.geometry.is_empty].sort_index()
        frame = frame.to_crs(horizontal(CRS.from_wkt(crs)))
        if self._attribute is None:
            return [(geometry, self._codes[""]) for geometry in frame.geometry]
        return [
            (geometry, self._code(value))
            for geometry, value in zip(frame.geometry, frame[self._attribute], strict=True)
        ]

    def _code(self, value: Any) -> int:
        text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        code = self._codes.get(text)
        if code is None:
            known = ", ".join(sorted(self._codes)[:12])
            raise InputError(
                f"{self._path}: attribute {self._attribute} is {text!r}, which no class lists ({known}); add it to "
                "'values' of a class, or to 'ignore', in dataset.json."
            )
        return UNKNOWN if code < 0 else code
