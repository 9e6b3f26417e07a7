"""Regions as GeoParquet 1.1 and as GeoPackage, written group by group."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.errors import OutputError
from tasks.files import writing
from tasks.imagery.protocol import ImageInfo
from tasks.regions.tables import describe
from tasks.vectors.geojson import write_geojson
from tasks.vectors.shapes import Shapes
from tasks.vectors.wkb import to_wkb

if TYPE_CHECKING:
    import pyarrow as pa

Groups = Iterator[tuple[Shapes, "pa.Table"]]
LAYER = "regions"
#: Name in a result by format; ``regions.parquet`` is the table of all regions.
NAMES = {"geoparquet": "polygons.parquet", "gpkg": "regions.gpkg", "geojson": "regions.geojson"}


def write_file(path: Path, kind: str, groups: Groups, *, schema: pa.Schema, info: ImageInfo) -> None:
    """Writes one file of polygons.

    Args:
        path: Where; replaced if it is there.
        kind: ``geoparquet``, ``gpkg`` or ``geojson``.
        groups: Regions with their attributes.
        schema: Of the attributes.
        info: The raster's grid.

    Raises:
        UsageError: The format cannot say where this raster lies.
        OutputError: The file cannot be written.
    """
    if kind == "geojson":
        write_geojson(path, groups, info=info)
        return
    writer: Callable[..., None] = {"geoparquet": _write_parquet, "gpkg": _write_gpkg}[kind]
    writer(path, groups, schema, info.grid["crs"])


def _write_parquet(path: Path, groups: Groups, schema: pa.Schema, crs: str | None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [
        pa.field(f.name, f.type, f.nullable, {"unit": unit, "description": meaning} if meaning else None)
        for f in schema
        for unit, meaning in [describe(f.name)]
    ]
    full = pa.schema([*fields, pa.field("geometry", pa.binary())])
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    kinds: set[str] = set()
    with (
        writing(path),
        pq.ParquetWriter(
            path,
            full,
            compression="zstd",
            version="2.6",
            use_dictionary=["class"],
            write_statistics=schema.names,
        ) as writer,
    ):
        for shapes, table in groups:
            low, high = (
                np.minimum(low, shapes.points.min(axis=0)),
                np.maximum(high, shapes.points.max(axis=0)),
            )
            pieces = np.add.reduceat(shapes.outer, shapes.first[:-1], dtype=np.int64)
            kinds |= ({"Polygon"} if (pieces == 1).any() else set()) | (
                {"MultiPolygon"} if (pieces > 1).any() else set()
            )
            writer.write_table(table.append_column("geometry", to_wkb(shapes)).cast(full))
        column: dict[str, Any] = {
            "encoding": "WKB",
            "geometry_types": sorted(kinds, reverse=True),
            "orientation": "counterclockwise",
            "edges": "planar",
            "crs": _projjson(crs),
        }
        if kinds:
            column["bbox"] = [*low.tolist(), *high.tolist()]
        geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
        writer.add_key_value_metadata({"geo": json.dumps(geo, sort_keys=True)})


def _projjson(crs: str | None) -> dict[str, Any] | None:
    if crs is None:
        return None
    import pyproj

    return dict(pyproj.CRS.from_wkt(crs).to_json_dict())


def _write_gpkg(path: Path, groups: Groups, schema: pa.Schema, crs: str | None) -> None:
    import pyarrow as pa
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    full = schema.append(pa.field("geometry", pa.binary()))

    def batches() -> Iterator[pa.RecordBatch]:
        for shapes, table in groups:
            whole = table.append_column("geometry", to_wkb(shapes, multi=True)).cast(full)
            yield from whole.combine_chunks().to_batches()

    path.unlink(missing_ok=True)
    # The time of writing would make equal results different files.
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "1970-01-01T00:00:00Z"})
    try:
        with writing(path), warnings.catch_warnings():
            if crs is None:
                # The run has said already that the image has no CRS.
                warnings.filterwarnings("ignore", message="'crs' was not provided", category=UserWarning)
            pyogrio.write_arrow(
                pa.RecordBatchReader.from_batches(full, batches()),
                path,
                layer=LAYER,
                driver="GPKG",
                geometry_name="geometry",
                geometry_type="MultiPolygon",
                crs=crs,
            )
    except (DataSourceError, DataLayerError) as error:
        raise OutputError(f"cannot write {path}: {' '.join(str(error).split())}") from error
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
