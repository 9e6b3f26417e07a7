"""Areas from polygons and masks, against rasterio's and numpy's own answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import nibabel as nib
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.features import geometry_mask
from rasterio.transform import Affine, from_origin
from shapely.affinity import rotate

from tasks.errors import InputError
from tasks.imagery.open import open_image
from tasks.imagery.protocol import ImageInfo
from tasks.previews.aoi import locate_aoi
from tasks.tiling import area as areas
from tasks.tiling.area import Area

UTM = "EPSG:26914"
ORIGIN = from_origin(485899, 5209246, 5, 5)


def raster(path: Path, values: Any, *, crs: Any = UTM, transform: Any = ORIGIN, **more: Any) -> ImageInfo:
    values = np.asarray(values, np.uint8)
    with rasterio.open(
        path, "w", driver="GTiff", height=values.shape[0], width=values.shape[1], count=1, dtype="uint8",
        crs=crs, transform=transform, **more,
    ) as out:  # fmt: skip
        out.write(values, 1)
    return open_image(path, scratch=path.parent).info


def polygon(x: float = 600, y: float = 500, size: float = 300) -> Any:
    shape = rotate(shapely.box(x - size, y - size / 2, x + size, y + size), 25)
    hole = shapely.Point(x, y).buffer(size / 4)
    return shapely.transform(shape.difference(hole), lambda p: p * [1, -1] + [485899, 5209246])


def drawn(area: Area, shape: tuple[int, ...]) -> np.ndarray:
    out = np.zeros(shape, bool)
    out[tuple(map(slice, area.low, area.high))] = area.inside(area.low, area.high)
    return out


@pytest.mark.parametrize("driver", ["GeoJSON", "GPKG", "ESRI Shapefile", "FlatGeobuf"])
def test_polygons_of_another_crs_are_what_rasterio_draws(
    tmp_path: Path, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(areas, "STRIP_PIXELS", 1000)
    info = raster(tmp_path / "image.tif", np.ones((201, 243)))
    frame = geopandas.GeoDataFrame(geometry=[polygon(), polygon(200, 800, 60)], crs=UTM).to_crs(4326)
    suffix = {"GeoJSON": "geojson", "GPKG": "gpkg", "ESRI Shapefile": "shp", "FlatGeobuf": "fgb"}[driver]
    frame.to_file(tmp_path / f"aoi.{suffix}", driver=driver)
    area = locate_aoi(tmp_path / f"aoi.{suffix}", info, folder=tmp_path)
    dense = frame.segmentize(1e-5).to_crs(UTM)
    expected = geometry_mask(dense.geometry, info.shape, ORIGIN, invert=True)
    np.testing.assert_array_equal(drawn(area, info.shape), expected)
    rows, columns = np.nonzero(expected)
    assert area.low[0] >= rows.min() - 2
    assert area.high[1] <= columns.max() + 3


def test_an_edge_follows_its_own_crs(tmp_path: Path) -> None:
    """A parallel is no straight line in UTM: 40 pixels off over five degrees."""
    info = raster(
        tmp_path / "image.tif", np.ones((100, 400)), transform=from_origin(305000, 5330000, 1000, 1000)
    )
    box = shapely.box(-101.5, 47.5, -96.5, 48.0)
    geopandas.GeoDataFrame(geometry=[box], crs=4326).to_file(tmp_path / "aoi.gpkg")
    seen = drawn(locate_aoi(tmp_path / "aoi.gpkg", info, folder=tmp_path), info.shape)
    rows, columns = np.mgrid[:100, :400]
    from pyproj import Transformer

    lon, lat = Transformer.from_crs(UTM, 4326, always_xy=True).transform(
        305000 + 1000 * (columns + 0.5), 5330000 - 1000 * (rows + 0.5)
    )
    inside = (lon > -101.5) & (lon < -96.5) & (lat > 47.5) & (lat < 48.0)
    np.testing.assert_array_equal(seen, inside)


def test_an_area_smaller_than_a_pixel_is_the_pixels_it_touches(tmp_path: Path) -> None:
    info = raster(tmp_path / "image.tif", np.ones((50, 50)))
    x, y = ORIGIN @ (20.3, 10.2)
    geopandas.GeoDataFrame(geometry=[shapely.Point(x, y).buffer(0.3)], crs=UTM).to_file(tmp_path / "a.gpkg")
    area = locate_aoi(tmp_path / "a.gpkg", info, folder=tmp_path)
    assert (area.low, area.high) == ((10, 20), (11, 21))


@pytest.mark.parametrize("west", [-180, 0])
def test_longitudes_a_turn_away_are_the_same_place(tmp_path: Path, west: int) -> None:
    info = raster(
        tmp_path / "image.tif", np.ones((18, 36)), crs="EPSG:4326", transform=from_origin(west, 90, 10, 10)
    )
    box = shapely.box(-41, 0, -20, 30)
    geopandas.GeoDataFrame(geometry=[box], crs=4326).to_file(tmp_path / "aoi.geojson", driver="GeoJSON")
    rows, columns = np.nonzero(drawn(locate_aoi(tmp_path / "aoi.geojson", info, folder=tmp_path), info.shape))
    assert sorted({*(columns * 10 + west) % 360}) == [320, 330]
    assert sorted({*rows}) == [6, 7, 8]


def test_a_masks_pixels_are_the_area(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(areas, "STRIP_PIXELS", 300)
    values = np.random.default_rng(0).integers(0, 3, (61, 77))
    values[:7], values[50:], values[:, :13] = 0, 0, 0
    info = raster(tmp_path / "image.tif", np.ones((61, 77)))
    raster(tmp_path / "mask.tif", values, nodata=2)
    area = locate_aoi(tmp_path / "mask.tif", info, folder=tmp_path)
    np.testing.assert_array_equal(drawn(area, info.shape), values == 1)
    rows, columns = np.nonzero(values)
    assert area.high == (rows.max() + 1, columns.max() + 1)
    assert area.low == (rows.min(), columns.min())


@pytest.mark.parametrize("frames", [1, 4])
def test_a_volumes_mask_serves_all_frames(tmp_path: Path, frames: int) -> None:
    affine = np.array([[0, 0, -2.0, 50], [1.5, 0, 0, -7], [0, -1, 0, 12], [0, 0, 0, 1]])
    shape = (9, 11, 10)
    mask = np.zeros(shape, np.uint8)
    mask[2:5, 3:9, 4:8] = np.random.default_rng(0).integers(0, 2, (3, 6, 4))
    mask[2, 3, 4] = mask[4, 8, 7] = 1
    image = np.zeros((*shape, frames)[: 4 if frames > 1 else 3], np.int16)
    nib.save(nib.Nifti1Image(image, affine), tmp_path / "image.nii.gz")
    nib.save(nib.Nifti1Image(mask, affine), tmp_path / "mask.nii.gz")
    info = open_image(tmp_path / "image.nii.gz", scratch=tmp_path).info
    area = locate_aoi(tmp_path / "mask.nii.gz", info, folder=tmp_path)
    canonical = nib.as_closest_canonical(nib.load(tmp_path / "mask.nii.gz"))
    expected = np.asanyarray(canonical.dataobj).transpose(2, 1, 0) > 0
    np.testing.assert_array_equal(drawn(area, info.shape), np.broadcast_to(expected, info.shape))
    assert sorted(area.shape[-3:]) == [3, 4, 6]


def test_what_is_no_area_of_the_image_is_refused(tmp_path: Path) -> None:
    info = raster(tmp_path / "image.tif", np.ones((50, 60)))
    names = {}

    def vector(name: str, geometry: Any, crs: Any = UTM) -> None:
        names[name] = tmp_path / f"{len(names)}.gpkg"
        geopandas.GeoDataFrame(geometry=geometry, crs=crs).to_file(names[name])

    def mask(name: str, values: Any, **more: Any) -> None:
        names[name] = tmp_path / f"{len(names)}.tif"
        raster(names[name], values, **more)

    vector("does not meet", [polygon(5000, 5000)])
    vector("holds Point", [shapely.Point(485950, 5209200)])
    vector("has no CRS", [polygon()], crs=None)
    mask("does not meet .*rows 0:50", np.zeros((50, 60)))
    mask("has 50 × 61 pixels", np.ones((50, 61)))
    mask("another CRS", np.ones((50, 60)), crs="EPSG:26915")
    mask("lies elsewhere", np.ones((50, 60)), transform=ORIGIN @ Affine.translation(0.5, 0))
    (tmp_path / "text.geojson").write_text("no")
    names["cannot be read"] = tmp_path / "text.geojson"
    names["is not there"] = tmp_path / "nowhere.gpkg"
    nib.save(nib.Nifti1Image(np.ones((5, 5, 5), np.uint8), np.eye(4)), tmp_path / "v.nii")
    names["is no mask for"] = tmp_path / "v.nii"
    for message, path in names.items():
        with pytest.raises(InputError, match=message):
            locate_aoi(path, info, folder=tmp_path)
    solid = open_image(tmp_path / "v.nii", scratch=tmp_path).info
    with pytest.raises(InputError, match="is a volume"):
        locate_aoi(names["does not meet"], solid, folder=tmp_path)


def test_the_digest_is_that_of_the_pixels(tmp_path: Path) -> None:
    info = raster(tmp_path / "image.tif", np.ones((201, 243)))
    for name, geometry in (("a", polygon()), ("b", polygon()), ("c", polygon(size=310))):
        geopandas.GeoDataFrame(geometry=[geometry], crs=UTM).to_file(
            tmp_path / f"{name}.geojson", driver="GeoJSON"
        )
    a, b, c = (locate_aoi(tmp_path / f"{n}.geojson", info, folder=tmp_path).digest for n in "abc")
    assert a == b != c
