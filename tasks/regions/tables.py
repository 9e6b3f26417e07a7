"""The region table as ``regions.parquet`` (GeoParquet where there is a map) and ``regions.csv``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.errors import OutputError
from tasks.imagery.protocol import ImageInfo

if TYPE_CHECKING:
    import pyarrow as pa

#: Spreadsheets run cells that begin like this.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

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
    table = table.sort_by("id").combine_chunks().replace_schema_metadata(None)
    try:
        _write_parquet(directory / "regions.parquet", table, info)
        _write_csv(directory / "regions.csv", table)
    except OSError as error:
        raise OutputError(
            f"{directory}: the region table could not be written ({error}); check space and permissions"
        ) from error


def _write_parquet(path: Path, table: pa.Table, info: ImageInfo) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = []
    for field in table.schema:
        unit, meaning = describe(field.name)
        metadata = {k: v for k, v in (("unit", unit), ("description", meaning)) if v}
        fields.append(pa.field(field.name, field.type, field.nullable, metadata or None))
    table = table.cast(pa.schema(fields))
    if info.field == "earth" and {"lon", "lat"} <= set(table.column_names):
        table = _with_points(table)
    pq.write_table(table, path, compression="zstd", row_group_size=65536, version="2.6")


def _with_points(table: pa.Table) -> pa.Table:
    import numpy as np
    import pyarrow as pa
    import shapely

    lon, lat = (table[c].to_numpy().astype(np.float64) for c in ("lon", "lat"))
    known = np.isfinite(lon) & np.isfinite(lat)
    points = np.full(len(lon), None, dtype=object)
    points[known] = shapely.to_wkb(shapely.points(lon[known], lat[known]), byte_order=1)
    column: dict[str, object] = {"encoding": "WKB", "geometry_types": ["Point"]}
    if known.any():
        column["bbox"] = [float(f(v[known])) for f in (np.min, np.max) for v in (lon, lat)]
    # Without "crs" a GeoParquet geometry is longitude, latitude in OGC:CRS84.
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    table = table.append_column("geometry", pa.array(points, pa.binary()))
    return table.replace_schema_metadata({"geo": json.dumps(geo, sort_keys=True)})


def _write_csv(path: Path, table: pa.Table) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv as pacsv

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
    safe = pa.table(columns, names=table.column_names)
    with path.open("wb") as file:
        header = ["'" + name if name.startswith(FORMULA) else name for name in table.column_names]
        file.write(_line(header).encode())
        pacsv.write_csv(safe, file, pacsv.WriteOptions(include_header=False))


def _line(cells: list[str]) -> str:
    """A header line; everything is quoted, so that a name may hold any character."""
    return ",".join('"' + c.replace('"', '""') + '"' for c in cells) + "\n"
