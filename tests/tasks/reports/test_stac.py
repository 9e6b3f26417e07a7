"""The STAC item and the outline it draws on the Earth."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pystac
import pytest
import rasterio.warp
from pyproj import CRS
from shapely.geometry import Point, box, shape

from segmodels.bundles.bundle import load_bundle
from tasks.reports.footprint import footprint
from tasks.reports.stac import date_in, write_stac


def grid(crs: str, *transform: float) -> dict[str, Any]:
    return {"crs": CRS.from_user_input(crs).to_wkt(), "transform": list(transform)}


@pytest.fixture
def item(earth: Any, tmp_path: Path) -> dict[str, Any]:
    shutil.copy(earth.directory / "mask.tif", tmp_path)
    (tmp_path / "report.html").write_text("x")
    write_stac(tmp_path, record=earth.record, summary=earth.summary, image_info=earth.image.info)
    data: dict[str, Any] = json.loads((tmp_path / "stac.json").read_text("utf-8"))
    return data


def test_item_reads_and_is_valid(item: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("jsonschema")
    read = pystac.Item.from_file(str(tmp_path / "stac.json"))
    assert read.id == "coast_20190704"
    # Schemas of extensions live on the network; that of the core comes with pystac.
    pystac.Item.from_dict(item | {"stac_extensions": []}).validate()


def test_item_knows_place_and_time(item: dict[str, Any], earth: Any) -> None:
    bounds = (500_000, 5_300_000 - 700 * 30, 500_000 + 934 * 30, 5_300_000)
    expected = rasterio.warp.transform_bounds("EPSG:32614", "EPSG:4326", *bounds, densify_pts=200)
    assert item["bbox"] == pytest.approx(expected, abs=1e-5)
    assert shape(item["geometry"]).bounds == pytest.approx(expected, abs=1e-5)
    properties = item["properties"]
    assert properties["proj:code"] == "EPSG:32614"
    assert properties["proj:shape"] == [700, 934]
    assert properties["proj:transform"] == [30, 0, 500_000, 0, -30, 5_300_000]
    assert properties["datetime"] == "2019-07-04T00:00:00Z"
    assert properties["start_datetime"], properties["end_datetime"] == (
        "2019-07-04T00:00:00Z",
        "2019-07-04T23:59:59Z",
    )


def test_assets(item: dict[str, Any], tmp_path: Path, earth: Any) -> None:
    mask = item["assets"]["mask"]
    assert mask["href"] == "./mask.tif"
    assert mask["roles"] == ["data"]
    assert mask["type"] == "image/tiff; application=geotiff; profile=cloud-optimized"
    content = (tmp_path / "mask.tif").read_bytes()
    assert mask["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()
    assert mask["file:size"] == len(content)
    assert mask["nodata"] == 255
    assert mask["data_type"] == "uint8"
    land = {c["name"]: c for c in mask["classification:classes"]}["land"]
    assert (land["value"], land["color_hint"], land["count"]) == (1, "D9A441", int((earth.codes == 1).sum()))
    assert sum(c["count"] for c in mask["classification:classes"]) == earth.codes.size
    assert {"mask", "report", "provenance", "model"} == set(item["assets"])
    # The model's digest, as RFC 6920 writes it.
    assert item["assets"]["model"]["href"] == "ni:///sha-256;p6enp6enp6enp6enp6enp6enp6enp6enp6enp6enp6c"
    assert item["properties"]["mlm:tasks"] == ["semantic-segmentation"]
    assert item["properties"]["mlm:input"][0]["input"]["shape"] == [-1, 256, 256, 4]
    assert all(e.startswith("https://stac-extensions.github.io/") for e in item["stac_extensions"])


def test_a_real_bundle_is_named_by_its_digest(earth: Any, tmp_path: Path) -> None:
    digest = load_bundle("water-ndwi").digest
    record = earth.record | {"bundle": earth.record["bundle"] | {"digest": digest}}
    write_stac(tmp_path, record=record, summary=earth.summary, image_info=earth.image.info)
    href = json.loads((tmp_path / "stac.json").read_text("utf-8"))["assets"]["model"]["href"]
    start, _, coded = href.partition(";")
    assert start == "ni:///sha-256"
    assert base64.urlsafe_b64decode(coded + "=").hex() == digest.removeprefix("sha256:")


def test_without_crs_there_is_no_place(earth: Any, tmp_path: Path) -> None:
    info = dataclasses.replace(earth.image.info, grid={"crs": None, "transform": [1, 0, 0, 0, -1, 0]})
    record = earth.record | {"input": earth.record["input"] | {"path": "coast.tif"}}
    write_stac(tmp_path, record=record, summary=earth.summary, image_info=info)
    data = json.loads((tmp_path / "stac.json").read_text())
    assert data["geometry"] is None
    assert "bbox" not in data
    assert data["properties"]["datetime"] == "2026-03-04T10:11:40Z"
    assert "date is not known" in data["properties"]["description"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m_4709963_se_14_1_20140720.tif", dt.date(2014, 7, 20)),
        ("S2_2021-03-09_T30.tif", dt.date(2021, 3, 9)),
        ("x_2021_03_09.tif", dt.date(2021, 3, 9)),
        ("20140720_20140720.tif", dt.date(2014, 7, 20)),
        ("20140720_20140721.tif", None),
        ("20141320.tif", None),
        ("20990101.tif", None),
        ("LC80030172015001LGN00_B5.tiff", None),
        ("1985.tif", None),
        ("120140720.tif", None),
    ],
)
def test_dates_in_names(name: str, expected: dt.date | None) -> None:
    assert date_in(name, latest=dt.date(2026, 1, 1)) == expected


def test_global_grid() -> None:
    place = footprint(grid("EPSG:4326", 1 / 15, 0, -180, 0, -1 / 15, 90), (2700, 5400))
    assert place is not None
    assert place.bbox == [-180, -90, 180, 90]
    assert shape(place.geometry).equals(box(-180, -90, 180, 90))
    assert len(place.geometry["coordinates"][0]) == 5


def test_global_grid_from_zero() -> None:
    place = footprint(grid("EPSG:4326", 1, 0, 0, 0, -1, 90), (180, 360))
    assert place is not None
    assert place.bbox == [-180, -90, 180, 90]
    assert shape(place.geometry).area == pytest.approx(360 * 180)


def test_web_mercator_world() -> None:
    half = 20037508.342789244
    place = footprint(grid("EPSG:3857", half / 128, 0, -half, 0, -half / 128, half), (256, 256))
    assert place is not None
    assert place.bbox == pytest.approx([-180, -85.0511288, 180, 85.0511288])
    assert shape(place.geometry).area == pytest.approx(360 * 2 * 85.0511288)


@pytest.mark.parametrize("start", [175.0, -185.0])
def test_across_the_antimeridian(start: float) -> None:
    place = footprint(grid("EPSG:4326", 0.1, 0, start, 0, -0.1, 10), (50, 100))
    assert place is not None
    assert place.geometry["type"] == "MultiPolygon"
    assert place.bbox == pytest.approx([175, 5, -175, 10])
    outline = shape(place.geometry)
    assert outline.bounds[0] == -180
    assert outline.bounds[2] == 180
    assert outline.area == pytest.approx(50)
    assert outline.contains(Point(179, 7))
    assert outline.contains(Point(-176, 7))
    assert not outline.contains(Point(0, 7))


def test_utm_across_the_antimeridian() -> None:
    place = footprint(grid("EPSG:32601", 100, 0, 280_000, 0, -100, 7_000_000), (1000, 1500))
    assert place is not None
    assert place.geometry["type"] == "MultiPolygon"
    assert place.bbox[0] > 170
    assert place.bbox[2] < -170


@pytest.mark.parametrize(("crs", "sign"), [("EPSG:3413", 1), ("EPSG:3031", -1)])
def test_over_a_pole(crs: str, sign: int) -> None:
    place = footprint(grid(crs, 10_000, 0, -2e6, 0, -10_000, 2e6), (400, 400))
    assert place is not None
    outline = shape(place.geometry)
    assert outline.is_valid
    assert place.bbox[0] == -180
    assert place.bbox[2] == 180
    assert (place.bbox[3] if sign > 0 else place.bbox[1]) == 90 * sign
    for lon in (-179, -90, 0, 90, 179):
        assert outline.contains(Point(lon, 89 * sign))
        assert not outline.contains(Point(lon, 55 * sign))


def test_a_place_off_the_earth() -> None:
    disc = "+proj=geos +h=35785831 +lon_0=0 +sweep=y +ellps=GRS80"
    assert footprint(grid(disc, 10_000, 0, -5.5e6, 0, -10_000, 5.5e6), (1100, 1100)) is None
