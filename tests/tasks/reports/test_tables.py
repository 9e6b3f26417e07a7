"""The region table, read back by the libraries that people use."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import OutputError
from tasks.regions.tables import write_regions


def test_geoparquet_reads_in_geopandas(earth: Any, tmp_path: Path) -> None:
    write_regions(tmp_path, earth.regions, info=earth.image.info)
    frame = gpd.read_parquet(tmp_path / "regions.parquet")
    assert frame.crs == "OGC:CRS84"
    np.testing.assert_array_equal(frame.geometry.x, frame["lon"])
    np.testing.assert_array_equal(frame.geometry.y, frame["lat"])
    expected = earth.regions.sort_by("id").to_pandas()
    pd.testing.assert_frame_equal(pd.DataFrame(frame.drop(columns="geometry")), expected, check_dtype=False)
    geo = json.loads(pq.read_schema(tmp_path / "regions.parquet").metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert geo["columns"]["geometry"]["geometry_types"] == ["Point"]
    np.testing.assert_allclose(geo["columns"]["geometry"]["bbox"], frame.total_bounds)


def test_csv_equals_parquet_in_pandas(earth: Any, tmp_path: Path) -> None:
    write_regions(tmp_path, earth.regions, info=earth.image.info)
    parquet = pq.read_table(tmp_path / "regions.parquet").drop_columns(["geometry"]).to_pandas()
    text = pd.read_csv(tmp_path / "regions.csv")
    pd.testing.assert_frame_equal(text, parquet, check_dtype=False, rtol=1e-15, atol=0)
    assert text["touches_border"].dtype == bool
    assert b"\r" not in (tmp_path / "regions.csv").read_bytes()


def test_units_travel_with_the_columns(brain: Any, tmp_path: Path) -> None:
    write_regions(tmp_path, brain.regions, info=brain.image.info)
    schema = pq.read_schema(tmp_path / "regions.parquet")
    units = {f.name: (f.metadata or {}).get(b"unit") for f in schema}
    assert units["volume_mm3"] == b"mm3"
    assert units["volume_ml"] == b"mL"
    assert units["world_x"] == b"mm"
    assert units["centroid_i"] == b"pixel"
    assert b"geo" not in (schema.metadata or {})


def test_same_table_same_bytes_in_any_order(earth: Any, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    shuffled = earth.regions.take(np.random.default_rng(0).permutation(len(earth.regions)))
    pieces = pa.concat_tables([shuffled.slice(0, 9), shuffled.slice(9)])
    write_regions(tmp_path / "a", earth.regions, info=earth.image.info)
    write_regions(tmp_path / "b", pieces, info=earth.image.info)
    for name in ("regions.csv", "regions.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert pd.read_csv(tmp_path / "b" / "regions.csv")["id"].is_monotonic_increasing


@pytest.mark.parametrize("name", ["=HYPERLINK(0)", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_no_cell_is_a_formula(earth: Any, tmp_path: Path, name: str) -> None:
    table = pa.table(
        {"id": [1, 2], "class": [name, 'a "b", ü\n'], "code": [1, 2], f"{name}mean": [-1.5, float("nan")]}
    )
    write_regions(tmp_path, table, info=earth.image.info)
    with (tmp_path / "regions.csv").open(newline="", encoding="utf-8") as file:
        header, one, two = list(csv.reader(file))
    assert header[3] == f"'{name}mean"
    assert one[1] == f"'{name}"
    assert two[1] == 'a "b", ü\n'
    assert one[3] == "-1.5"
    assert two[3] == ""
    # Parquet has no formulas: names stay as they are.
    assert pq.read_table(tmp_path / "regions.parquet")["class"].to_pylist() == [name, 'a "b", ü\n']


def test_no_regions_at_all(earth: Any, tmp_path: Path) -> None:
    write_regions(tmp_path, earth.regions.slice(0, 0), info=earth.image.info)
    assert len(gpd.read_parquet(tmp_path / "regions.parquet")) == 0
    assert pd.read_csv(tmp_path / "regions.csv").columns.tolist() == earth.regions.column_names


def test_a_region_without_a_place(earth: Any, tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2], "class": ["a", "a"], "lon": [float("nan"), 5.0], "lat": [1.0, 6.0]})
    write_regions(tmp_path, table, info=earth.image.info)
    geometry = gpd.read_parquet(tmp_path / "regions.parquet").geometry
    assert geometry.iloc[0] is None
    assert (geometry.iloc[1].x, geometry.iloc[1].y) == (5.0, 6.0)


def test_unwritable_output(earth: Any, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="region table could not be written"):
        write_regions(tmp_path / "missing", earth.regions, info=earth.image.info)
