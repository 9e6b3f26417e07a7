"""The region table as ``regions.parquet`` (GeoParquet where there is a map) and ``regions.csv``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tasks.errors import OutputError
from tasks.imagery.protocol import ImageInfo

if TYPE_CHECKING:
    import pyarrow as pa

#: Spreadsheets run cells that begin like this.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

#: Rows of a row group, and those that are made ready at once: a table of millions needs no second copy.
ROWS = 65536

_UNITS = {
    "pixels": ("1", "pixels (voxels) of the region"),
    "area_m2": ("m2", "geodesic area on the ellipsoid"),
    "volume_mm3": ("mm3", "volume on the file's own voxel grid"),
    "volume_ml": ("mL", "volume on the file's own voxel grid"),
    "lon": ("degree", "centroid, longitude, WGS 84"),
    "lat": ("degree", "centroid, latitude, WGS 84"),
    "west": ("degree", "western limit; greater than east where the region crosses the antimeridian"),
    "south": ("degree", "southern limit"),
    "east": ("degree", "eastern limit"),
    "north": ("degree", "northern limit"),
    "id": ("", "rank by class, then by first pixel in raster order"),
    "class": ("", "name of the class"),
    "code": ("", "code of the class in the mask"),
    "frame": ("", "frame of a series, from 0"),
    "mean_confidence": ("1", "mean probability of the region's class, 0 to 1"),
    "touches_border": ("", "whether the region reaches the border of the image"),
}


def describe(name: str) -> tuple[str, str]:
    """Unit and meaning of a column; both empty where the name says it all."""
    if name in _UNITS:
        return _UNITS[name]
    if name.startswith("world_"):
        return "mm", "centroid in the file's world space (RAS+)"
    if name.startswith("centroid_"):
        return "pixel", "centroid in pixel centres of the file, from 0"
    if name.startswith("bbox_"):
        return "pixel", "bounding box, half-open"
    if name.startswith("mean_"):
        return "", "mean of the input's values"
    return "", ""


def write_regions(directory: Path, table: pa.Table, *, info: ImageInfo) -> None:
    """Writes ``regions.parquet`` and ``regions.csv``, ordered by ``id``.

    The parquet file names the unit and meaning of each column in its field metadata. With
    ``lon`` and ``lat`` it is GeoParquet 1.1 with a point per region (OGC:CRS84). The same
    table gives the same bytes.

    Args:
        directory: Where the files go.
        table: One row per region, columns in their final order.
        info: The input, which decides whether the table has a map.

    Raises:
        tasks.errors.OutputError: The files cannot be written.
    """
    if not bool((np.diff(table["id"].to_numpy()) > 0).all()):
        table = table.sort_by("id")
    table = table.combine_chunks().replace_schema_metadata(None)
    try:
        _write_parquet(directory / "regions.parquet", table, info)
        _write_csv(directory / "regions.csv", table)
    except OSError as error:
        raise OutputError(
            f"{directory}: the region table could not be written ({error}); check space and permissions"
        ) from error


def _pieces(table: pa.Table) -> Iterator[pa.Table]:
    """A table of any length by ``ROWS``; at least one piece."""
    for first in range(0, max(len(table), 1), ROWS):
        yield table.slice(first, ROWS)


def _write_parquet(path: Path, table: pa.Table, info: ImageInfo) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = []
    for field in table.schema:
        unit, meaning = describe(field.name)
        metadata = {k: v for k, v in (("unit", unit), ("description", meaning)) if v}
        fields.append(pa.field(field.name, field.type, field.nullable, metadata or None))
    schema = pa.schema(fields)
    mapped = info.field == "earth" and {"lon", "lat"} <= set(table.column_names)
    if mapped:
        schema = schema.append(pa.field("geometry", pa.binary())).with_metadata({"geo": _geo(table)})
    with pq.ParquetWriter(path, schema, compression="zstd", version="2.6") as writer:
        for piece in _pieces(table):
            if mapped:
                piece = piece.append_column("geometry", _points(piece))
            writer.write_table(piece.cast(schema), row_group_size=ROWS)


def _geo(table: pa.Table) -> str:
    """The file's metadata as GeoParquet wants them."""
    lon, lat = _places(table)
    known = np.isfinite(lon) & np.isfinite(lat)
    column: dict[str, object] = {"encoding": "WKB", "geometry_types": ["Point"]}
    if known.any():
        column["bbox"] = [float(f(v[known])) for f in (np.min, np.max) for v in (lon, lat)]
    # Without "crs" a GeoParquet geometry is longitude, latitude in OGC:CRS84.
    return json.dumps(
        {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}, sort_keys=True
    )


def _points(table: pa.Table) -> pa.Array:
    import pyarrow as pa
    import shapely

    lon, lat = _places(table)
    known = np.isfinite(lon) & np.isfinite(lat)
    points = np.full(len(lon), None, dtype=object)
    points[known] = shapely.to_wkb(shapely.points(lon[known], lat[known]), byte_order=1)
    return pa.array(points, pa.binary())


def _places(table: pa.Table) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    lon, lat = (table[c].to_numpy().astype(np.float64) for c in ("lon", "lat"))
    return lon, lat


def _write_csv(path: Path, table: pa.Table) -> None:
    import pyarrow.csv as pacsv

    with path.open("wb") as file:
        header = ["'" + name if name.startswith(FORMULA) else name for name in table.column_names]
        file.write(_line(header).encode())
        for piece in _pieces(table):
            pacsv.write_csv(_safe(piece), file, pacsv.WriteOptions(include_header=False))


def _safe(table: pa.Table) -> pa.Table:
    """The same with nothing that a spreadsheet would run, and no NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = []
    for name in table.column_names:
        column = table[name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            risky = pc.match_substring_regex(column, r"^[=+\-@\t\r\n]")
            column = pc.if_else(risky, pc.binary_join_element_wise("'", column, ""), column)
        elif pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        columns.append(column)
    return pa.table(columns, names=table.column_names)


def _line(cells: list[str]) -> str:
    """A header line; everything is quoted, so that a name may hold any character."""
    return ",".join('"' + c.replace('"', '""') + '"' for c in cells) + "\n"
