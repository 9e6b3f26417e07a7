"""Files of polygons as other programs read them: GDAL, GeoPandas, pyarrow, json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pyproj
import pytest
import rasterio
import shapely
from rasterio.features import shapes as gdal_shapes
from shapely.geometry import shape

from flows.commands.polygons import make
from tasks.errors import InputError, UsageError
from tasks.vectors.meridian import cut_at_meridian


def write_mask(path: Path, mask: np.ndarray, *, crs: str | None, transform: rasterio.Affine) -> Path:
    height, width = mask.shape
    profile: dict[str, Any] = {
        "driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": mask.dtype, "nodata": 255
    }  # fmt: skip
    with rasterio.open(path, "w", crs=crs, transform=transform, **profile) as out:
        out.write(mask, 1)
    return path


def blobs(seed: int = 0, shape: tuple[int, int] = (50, 70)) -> np.ndarray:
    mask = np.random.default_rng(seed).choice([0, 1, 2], shape, p=[0.6, 0.3, 0.1]).astype(np.uint8)
    mask[:, -3:] = 255
    return mask


def polygons(mask: Path, *out: Path, **options: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "codes": None,
        "connectivity": None,
        "simplify": 0,
        "min_size": 1,
        "force": False,
    }
    return make(mask, list(out), **{**plain, **options})


def test_every_format_tells_the_same(tmp_path: Path) -> None:
    mask = blobs()
    transform = rasterio.Affine(30, 0, 500_000, 0, -30, 5_300_000)
    path = write_mask(tmp_path / "m.tif", mask, crs="EPSG:32614", transform=transform)
    files = [tmp_path / f"p.{ending}" for ending in ("parquet", "gpkg", "geojson")]
    answer = polygons(path, *files)
    wanted = (mask > 0) & (mask < 255)
    expected = [shape(g) for g, _ in gdal_shapes(mask, mask=wanted, connectivity=8, transform=transform)]
    assert answer["polygons"] == len(expected)
    assert {c["code"]: c["pixels"] for c in answer["classes"]} == {c: int((mask == c).sum()) for c in (1, 2)}
    frames = [geopandas.read_parquet(files[0]), *map(geopandas.read_file, files[1:])]
    for frame in frames:
        assert frame["id"].tolist() == list(range(1, len(expected) + 1))
        assert frame.geometry.is_valid.all()
        assert set(frame["class"]) == {"class 1", "class 2"}
        # A UTM metre is a metre but for its scale factor, 0.9996 on the central meridian.
        np.testing.assert_allclose(frame["area_m2"], frame["pixels"] * 900, rtol=1e-3)
    for frame in frames[:2]:
        assert frame.crs == pyproj.CRS("EPSG:32614")
        assert sorted(frame.geometry.area) == pytest.approx(sorted(g.area for g in expected))
    assert frames[2].crs == pyproj.CRS("EPSG:4326")
    moved = frames[2].to_crs(32614).geometry
    assert moved.area.to_numpy() == pytest.approx(frames[0].geometry.area.to_numpy(), abs=2)
    geo = json.loads(pq.read_metadata(files[0]).metadata[b"geo"])
    assert (geo["version"], geo["columns"]["geometry"]["encoding"]) == ("1.1.0", "WKB")
    text = files[2].read_text()
    assert (
        max(len(n.split(".")[1]) for n in text.replace("]", ",").split(",") if "." in n and '"' not in n) <= 7
    )
    assert "crs" not in json.loads(text)


def test_equal_masks_give_equal_files(tmp_path: Path) -> None:
    path = write_mask(
        tmp_path / "m.tif", blobs(), crs="EPSG:4326", transform=rasterio.Affine(0.1, 0, 5, 0, -0.1, 50)
    )
    for ending in ("parquet", "geojson", "gpkg"):
        files = [tmp_path / f"{n}.{ending}" for n in "ab"]
        for file in files:
            polygons(path, file)
        assert files[0].read_bytes() == files[1].read_bytes(), ending


def test_small_regions_are_left_out_after_merging(tmp_path: Path) -> None:
    mask = np.zeros((600, 8), np.uint8)  # two rows of storage blocks, so the long region crosses a seam
    mask[500:530, 2] = 1
    mask[3, 3] = 1
    path = write_mask(tmp_path / "m.tif", mask, crs=None, transform=rasterio.Affine(1, 0, 0, 0, -1, 0))
    answer = polygons(path, tmp_path / "p.parquet", min_size=30)
    frame = geopandas.read_parquet(tmp_path / "p.parquet")
    assert frame["id"].tolist() == [2]
    assert frame.geometry.area.tolist() == [30]
    assert frame.crs is None
    assert (answer["regions"], answer["polygons"]) == (2, 1)


@pytest.mark.filterwarnings("error:'crs' was not provided")
def test_an_image_without_crs_is_no_surprise(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "m.tif", blobs(), crs=None, transform=rasterio.Affine(1, 0, 0, 0, -1, 0))
    polygons(path, tmp_path / "p.gpkg")
    assert geopandas.read_file(tmp_path / "p.gpkg").crs is None


def test_nothing_to_draw(tmp_path: Path) -> None:
    path = write_mask(
        tmp_path / "m.tif",
        np.zeros((4, 5), np.uint8),
        crs="EPSG:4326",
        transform=rasterio.Affine(1, 0, 0, 0, -1, 9),
    )
    for ending in ("parquet", "gpkg", "geojson"):
        assert polygons(path, tmp_path / f"p.{ending}", codes="1")["polygons"] == 0
    assert len(geopandas.read_parquet(tmp_path / "p.parquet")) == 0
    assert len(geopandas.read_file(tmp_path / "p.gpkg")) == 0
    assert json.loads((tmp_path / "p.geojson").read_text())["features"] == []


def test_simplified_polygons_are_valid_and_fewer(tmp_path: Path) -> None:
    path = write_mask(
        tmp_path / "m.tif", blobs(1), crs="EPSG:32614", transform=rasterio.Affine(1, 0, 0, 0, -1, 0)
    )
    polygons(path, tmp_path / "a.parquet", connectivity="face")
    polygons(path, tmp_path / "b.parquet", connectivity="face", simplify=1.5)
    before, after = (geopandas.read_parquet(tmp_path / f"{n}.parquet") for n in "ab")
    assert after.geometry.is_valid.all()
    assert after["pixels"].tolist() == before["pixels"].tolist()
    assert after.geometry.count_coordinates().sum() < before.geometry.count_coordinates().sum()


def test_geojson_is_cut_at_the_antimeridian(tmp_path: Path) -> None:
    mask = np.zeros((4, 20), np.uint8)
    mask[1:3, 5:15] = 1
    transform = rasterio.Affine(1, 0, 170, 0, -1, 2)  # 170° to 190°
    path = write_mask(tmp_path / "m.tif", mask, crs="EPSG:4326", transform=transform)
    polygons(path, tmp_path / "p.geojson")
    (feature,) = json.loads((tmp_path / "p.geojson").read_text())["features"]
    found = shape(feature["geometry"])
    assert sorted(p.bounds for p in found.geoms) == [(-180, -1, -175, 1), (175, -1, 180, 1)]
    assert found.is_valid
    assert all(p.exterior.is_ccw for p in found.geoms)


def test_geojson_round_the_pole_and_the_whole_world(tmp_path: Path) -> None:
    cap = np.zeros((40, 40), np.uint8)
    cap[10:30, 10:30] = 1
    step = 100_000
    transform = rasterio.Affine(step, 0, -20 * step, 0, -step, 20 * step)
    path = write_mask(tmp_path / "cap.tif", cap, crs="EPSG:3413", transform=transform)
    polygons(path, tmp_path / "cap.geojson")
    (feature,) = json.loads((tmp_path / "cap.geojson").read_text())["features"]
    found = shape(feature["geometry"])
    assert found.is_valid
    assert found.bounds[0::2] == (-180, 180)
    assert found.bounds[3] == 90
    assert found.contains(shapely.Point(77, 89))
    geod = pyproj.Geod(ellps="WGS84")
    area = sum(
        abs(geod.geometry_area_perimeter(shapely.segmentize(p, 0.2))[0]) for p in shapely.get_parts(found)
    )
    back = pyproj.Transformer.from_crs(4326, 3413, always_xy=True)
    outline = shapely.segmentize(shapely.box(-10 * step, -10 * step, 10 * step, 10 * step), step / 10)
    true = abs(
        geod.geometry_area_perimeter(
            shapely.transform(
                outline, lambda p: np.column_stack(back.transform(p[:, 0], p[:, 1], direction="INVERSE"))
            )
        )[0]
    )
    assert area == pytest.approx(true, rel=5e-3)

    world = np.ones((18, 36), np.uint8)
    world[9:, :18] = 0
    path = write_mask(
        tmp_path / "w.tif", world, crs="EPSG:4326", transform=rasterio.Affine(10, 0, -180, 0, -10, 90)
    )
    polygons(path, tmp_path / "w.geojson")
    (feature,) = json.loads((tmp_path / "w.geojson").read_text())["features"]
    assert shape(feature["geometry"]).area == pytest.approx(360 * 180 * 0.75)


def test_a_hole_stays_a_hole_when_cut() -> None:
    outer = shapely.box(170, 0, 190, 20)
    ring = np.array([[170, 0], [190, 0], [190, 20], [170, 20], [170, 0]], float)
    hole = np.array([[178, 8], [178, 12], [182, 12], [182, 8], [178, 8]], float)
    parts = cut_at_meridian([[ring, hole - [360, 0]]], decimals=7)
    found = shapely.union_all([shapely.Polygon(p[0], p[1:]) for p in parts])
    assert found.area == pytest.approx(outer.area - 16)


@pytest.mark.parametrize(
    ("out", "words"),
    [(("p.shp",), "says no format"), (("a.gpkg", "b.gpkg"), "one format"), (("m.tif",), "says no format")],
)
def test_outputs_that_cannot_be(tmp_path: Path, out: tuple[str, ...], words: str) -> None:
    path = write_mask(tmp_path / "m.tif", blobs(), crs=None, transform=rasterio.Affine(1, 0, 0, 0, -1, 0))
    with pytest.raises(UsageError, match=words):
        polygons(path, *(tmp_path / name for name in out))
    with pytest.raises(UsageError, match="no CRS"):
        polygons(path, tmp_path / "p.geojson")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.tif"]


def test_masks_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="volumes have none"):
        polygons(tmp_path / "a.nii.gz", tmp_path / "p.gpkg")
    path = tmp_path / "f.tif"
    with rasterio.open(path, "w", driver="GTiff", height=2, width=2, count=2, dtype="float32") as out:
        out.write(np.zeros((2, 2, 2), np.float32))
    with pytest.raises(InputError, match="2 bands of float32"):
        polygons(path, tmp_path / "p.gpkg")


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32614", rasterio.Affine(3000, 0, 300_000, 0, -3000, 5_300_000)),
        ("EPSG:4326", rasterio.Affine(0.5, 0, 5, 0, -0.5, 50)),
        ("EPSG:3035", rasterio.Affine(2e4, 5e3, 3e6, 4e3, -2e4, 4e6)),
    ],
)
def test_true_areas_are_the_sums_over_pixels(tmp_path: Path, crs: str, transform: rasterio.Affine) -> None:
    from tasks.imagery.earth.areas import pixel_areas
    from tasks.imagery.open import open_image

    mask = blobs(3)
    path = write_mask(tmp_path / "m.tif", mask, crs=crs, transform=transform)
    polygons(path, tmp_path / "p.parquet")
    frame = geopandas.read_parquet(tmp_path / "p.parquet")
    areas = pixel_areas(open_image(path, scratch=tmp_path).info).at(*np.indices(mask.shape))
    for code in (1, 2):
        found = frame.loc[frame["code"] == code, "area_m2"].sum()
        assert found == pytest.approx(areas[mask == code].sum(), rel=1e-12)
