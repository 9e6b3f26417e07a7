"""Pixel areas against geodesic polygons and closed forms; positions against pyproj."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyproj
import pytest
from rasterio.crs import CRS

from tasks.errors import InputError
from tasks.imagery.earth.areas import PixelAreas
from tasks.imagery.earth.ellipsoid import Ellipsoid
from tasks.imagery.earth.geography import lonlat, lonlat_box, lonlat_boxes, pixel_areas
from tasks.imagery.earth.globe import check_on_earth
from tasks.imagery.open import open_image
from tasks.imagery.protocol import ImageInfo
from tasks.imagery.source import Source

MOON = "+proj=longlat +a=1737400 +b=1737400 +no_defs"


def grid(crs: str | int | None, transform: tuple[float, ...], height: int, width: int) -> ImageInfo:
    return ImageInfo(
        source=Source.of(Path("x.tif")), format="geotiff", kind="raster", gdal=None, field="earth", shape=(height, width), axes=("y", "x"),
        channels=("a",), dtype="uint8", wraps=(False, False), chunk=(1, 1), nodata=None,
        grid={"crs": None if crs is None else CRS.from_user_input(crs).to_wkt(), "transform": transform},
    )  # fmt: skip


def geodesic_area(info: ImageInfo, row: int, col: int, size: int = 1, points: int = 400) -> float:
    """Area of a square of pixels whose edges are cut into many geodesics."""
    crs = pyproj.CRS.from_wkt(info.grid["crs"])
    u = np.linspace(0, 1, points, endpoint=False) * size
    o = np.zeros_like(u)
    rows = row + np.concatenate([o, u, o + size, size - u])
    cols = col + np.concatenate([u, o + size, size - u, o])
    a, b, c, d, e, f = info.grid["transform"]
    x, y = c + a * cols + b * rows, f + d * cols + e * rows
    lon, lat = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(x, y)
    unit = crs.geodetic_crs.axis_info[0].unit_conversion_factor
    return abs(crs.get_geod().polygon_area_perimeter(np.degrees(lon * unit), np.degrees(lat * unit))[0])


CASES = {
    "degree grid": (4326, (1 / 15, 0, -180, 0, -1 / 15, 90), 2700, 5400, 1),
    "whole degrees": (4326, (1, 0, -180, 0, -1, 90), 180, 360, 1),
    "Clarke 1866": (4267, (1 / 120, 0, -100, 0, -1 / 120, 40), 3601, 3601, 4),
    "rotated degrees": (4326, (0.5, 0.2, -50, 0.2, -0.5, 50), 100, 100, 1),
    "UTM tile": (32632, (10, 0, 100000, 0, -10, 9300000), 10980, 10980, 20),
    "UTM edge": (32632, (30, 0, 833978, 0, -30, 100000), 2000, 2000, 20),
    "rotated UTM": (32632, (5, 2, 400000, 2, -5, 5300000), 3000, 3000, 50),
    "Mercator at 60°": (3857, (10, 0, 1e6, 0, -10, 8399737), 20000, 20000, 20),
    "whole Mercator": (3857, (40000, 0, -20037508, 0, -40000, 20037508), 1001, 1001, 1),
    "polar": (3031, (40000, 0, -4e6, 0, -40000, 4e6), 200, 200, 1),
    "feet": (2263, (100, 0, 900000, 0, -100, 300000), 3000, 3000, 10),
    "sphere": ("+proj=merc +R=6370997 +units=m", (5000, 0, 0, 0, -5000, 9e6), 400, 400, 1),
    "one row": (32632, (1000, 0, 100000, 0, -1000, 5300000), 1, 500, 1),
    "one pixel": (32632, (1000, 0, 100000, 0, -1000, 5300000), 1, 1, 1),
}


@pytest.mark.parametrize("case", CASES)
def test_areas_are_geodesic(case: str) -> None:
    crs, transform, height, width, size = CASES[case]
    info = grid(crs, transform, height, width)
    areas = pixel_areas(info)
    assert areas.unit == "m2"
    assert areas.error < 1e-7
    rng = np.random.default_rng(0)
    places = [(0, 0), (height - size, width - size), (0, width - size), (height - size, 0)]
    places += [
        (int(rng.integers(0, height - size + 1)), int(rng.integers(0, width - size + 1))) for _ in range(8)
    ]
    for row, col in places:
        r, c = np.mgrid[row : row + size, col : col + size]
        assert areas.at(r, c).sum() == pytest.approx(geodesic_area(info, row, col, size), rel=2e-7), (
            row,
            col,
        )


def test_equal_area_projections_are_constant() -> None:
    # NAD83 / Conus Albers and EASE-Grid 2.0: the plane's own area is the truth.
    for crs in (5070, 6933):
        areas = pixel_areas(grid(crs, (30, 0, -2e6, 0, -30, 3e6), 100000, 150000))
        np.testing.assert_allclose(areas.lattice, 900, rtol=1e-8)
        assert areas.lattice.size < 100


def test_the_whole_globe() -> None:
    areas = pixel_areas(grid(4326, (1 / 15, 0, -180, 0, -1 / 15, 90), 2700, 5400))
    assert areas.lattice.shape == (2700, 1)
    # WGS84's authalic radius is 6371007.1809 m.
    assert areas.total((2700, 5400)) == pytest.approx(4 * math.pi * 6371007.1809**2, rel=1e-10)
    moon = pixel_areas(grid(MOON, (1, 0, 0, 0, -1, 90), 180, 360))
    assert moon.total((180, 360)) == pytest.approx(4 * math.pi * 1737400**2, rel=1e-12)


def test_grads_count_as_grads() -> None:
    areas = pixel_areas(grid(4807, (1, 0, -200, 0, -1, 100), 200, 400))
    a, b = 6378249.2, 6356515.0
    e = math.sqrt(1 - (b / a) ** 2)
    surface = 2 * math.pi * a**2 + math.pi * b**2 / e * math.log((1 + e) / (1 - e))
    assert areas.total((200, 400)) == pytest.approx(surface, rel=1e-9)


def test_points_at_the_poles_do_not_reach_beyond() -> None:
    # A grid registered at pixel centres: the first and last row are half outside.
    areas = pixel_areas(grid(4326, (1, 0, -180.5, 0, -1, 90.5), 181, 360))
    assert areas.total((181, 360)) == pytest.approx(4 * math.pi * 6371007.1809**2, rel=1e-10)


def test_lattice_is_small_for_large_images() -> None:
    areas = pixel_areas(grid(32632, (1, 0, 300000, 0, -1, 5400000), 100000, 100000))
    assert areas.lattice.size < 10000
    assert areas.error < 1e-7


def test_without_a_globe() -> None:
    pixels = pixel_areas(grid(None, (0.3, 0, 0, 0, -0.3, 0), 10, 10))
    assert (pixels.unit, float(pixels.at(3, 4))) == ("pixels", 1.0)
    hall = pixel_areas(grid('LOCAL_CS["hall",UNIT["foot",0.3048]]', (2, 0, 0, 0, -2, 0), 10, 10))
    assert float(hall.at(3, 4)) == pytest.approx(4 * 0.3048**2)


def test_bands_are_stable_when_thin() -> None:
    earth = Ellipsoid(6378137.0, 0.00669437999014)
    for latitude in (0.0, 0.5, 1.2, 1.5707):
        # ∫ M N cos φ dφ over a thin band is the density times its height.
        assert earth.band(latitude, latitude + 1e-9) == pytest.approx(
            earth.density(latitude + 5e-10) * ((latitude + 1e-9) - latitude), rel=1e-9
        )
    vectors = earth.authalic([0, 1, 2], [0.3, -1.2, np.pi / 2])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-15)


def test_lonlat_of_centres() -> None:
    info = grid(32632, (10, 0, 500000, 0, -10, 5300000), 100, 100)
    lon, lat = pyproj.Transformer.from_crs(32632, 4326, always_xy=True).transform(500000 + 35, 5300000 - 25)
    np.testing.assert_allclose(lonlat(info, [[2, 3]]), [[lon, lat]], atol=1e-12)
    late = grid(4326, (1, 0, 0, 0, -1, 90), 180, 360)
    np.testing.assert_allclose(lonlat(late, [[0, 359], [3, 180]]), [[-0.5, 89.5], [-179.5, 86.5]])
    assert np.isnan(lonlat(grid(None, (1, 0, 0, 0, 1, 0), 5, 5), [[1, 1]])).all()
    np.testing.assert_allclose(lonlat(grid(MOON, (1, 0, 0, 0, -1, 90), 180, 360), [[0, 350]]), [[-9.5, 89.5]])


WORLD = grid(4326, (1 / 4, 0, -180, 0, -1 / 4, 90), 720, 1440)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0, 720, 1440), (-180, -90, 180, 90)),
        ((100, 40, 200, 80), (-170, 40, -160, 65)),
        ((100, 1400, 200, 1440), (170, 40, 180, 65)),
        ((100, 0, 200, 40), (-180, 40, -170, 65)),
        ((100, 1400, 200, 1480), (170, 40, -170, 65)),
        ((100, 700, 200, 2140), (-180, 40, 180, 65)),
    ],
)
def test_boxes_on_a_global_grid(box: tuple[int, ...], expected: tuple[float, ...]) -> None:
    assert lonlat_box(WORLD, box) == pytest.approx(expected)


def test_boxes_in_projections() -> None:
    polar = grid(3031, (25000, 0, -4e6, 0, -25000, 4e6), 320, 320)
    west, south, east, _ = lonlat_box(polar, (0, 0, 320, 320))
    assert (west, south, east) == (-180, -90, 180)
    # Beside the pole and across the antimeridian, which lies at negative y here.
    west, south, east, north = lonlat_box(polar, (200, 100, 220, 220))
    assert west > 90
    assert east < -90
    assert -90 < south < north < -60
    fiji = grid(32701, (1000, 0, 0, 0, -1000, 8.2e6), 400, 400)
    west, _, east, _ = lonlat_box(fiji, (0, 0, 400, 400))
    assert 170 < west < 180
    assert -180 < east < -170
    whole = grid("+proj=moll", (40000, 0, -18.1e6, 0, -40000, 9.1e6), 455, 905)
    assert lonlat_box(whole, (0, 0, 455, 905)) == pytest.approx((-180, -90, 180, 90))
    assert lonlat_box(whole, (0, 0, 5, 5)) is None
    assert lonlat_box(grid(None, (1, 0, 0, 0, 1, 0), 5, 5), (0, 0, 5, 5)) is None


def test_edges_bulge_beyond_corners() -> None:
    # The northern edge of a wide Albers box is highest in its middle.
    info = grid(5070, (1000, 0, -2e6, 0, -1000, 3e6), 1000, 4000)
    _, _, _, north = lonlat_box(info, (0, 0, 1000, 4000))
    to = pyproj.Transformer.from_crs(5070, 4326, always_xy=True)
    assert north == pytest.approx(to.transform(0, 3e6)[1], abs=1e-3)
    assert north > to.transform(-2e6, 3e6)[1] + 1


@pytest.mark.parametrize("name", ["naip/m_4709963_se_14_1_20120731.tif", "landsat-pucallpa/1985.tif"])
def test_many_boxes_equal_one_by_one(name: str, shared_data: Path, tmp_path: Path) -> None:
    info = open_image(shared_data / name, scratch=tmp_path).info
    rng = np.random.default_rng(0)
    low = rng.integers(0, 300, (40, 2))
    boxes = np.hstack([low, low + rng.integers(1, 300, (40, 2))])
    got = lonlat_boxes(info, boxes)
    for box, found in zip(boxes.tolist(), got, strict=True):
        expected = lonlat_box(info, tuple(box))
        assert expected is not None
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("ny", "nx"), [(1, 1), (37, 1), (1, 6), (5, 9), (37, 53), (2, 2)])
def test_the_total_is_the_sum_of_all_pixels(ny: int, nx: int) -> None:
    shape = (37, 53)
    lattice = 100 + np.random.default_rng(0).random((ny, nx))
    steps = [(n - 1) / (k - 1) if k > 1 else float(n) for n, k in zip(shape, (ny, nx), strict=True)]
    areas = PixelAreas(lattice, *steps, "m2")
    every = areas.at(np.arange(37)[:, None], np.arange(53)[None])
    assert areas.total(shape) == pytest.approx(math.fsum(every.ravel().tolist()), rel=1e-12)


def test_the_total_of_a_huge_grid_needs_no_pixel() -> None:
    # 10¹² pixels: one by one this would take days.
    areas = PixelAreas(np.array([[1.0, 3.0], [5.0, 7.0]]), 1e6 - 1, 1e6 - 1, "m2")
    assert areas.total((10**6, 10**6)) == pytest.approx(4e12, rel=1e-12)


def test_boxes_beside_a_pole_are_found_together(monkeypatch: pytest.MonkeyPatch) -> None:
    # Antarctica in polar stereographic: only the box that holds the pole is looked at alone.
    info = grid(3031, (1000, 0, -4e6, 0, -1000, 4e6), 8000, 8000)
    rng = np.random.default_rng(1)
    low = 4000 + rng.integers(-130, 130, (200, 2))
    boxes = np.hstack([low, low + rng.integers(1, 100, (200, 2))]).astype(float)
    holds = ((boxes[:, :2] <= 4000) & (boxes[:, 2:] >= 4000)).all(axis=1)
    # Those across the antimeridian (straight down from the pole) go alone for another reason.
    boxes = boxes[holds | (boxes[:, 2] < 4000)][:60]
    holds = ((boxes[:, :2] <= 4000) & (boxes[:, 2:] >= 4000)).all(axis=1)
    alone: list[tuple[float, ...]] = []

    def spy(info: ImageInfo, box: tuple[float, float, float, float]) -> tuple[float, ...] | None:
        alone.append(box)
        return lonlat_box(info, box)

    monkeypatch.setattr("tasks.imagery.earth.geography.lonlat_box", spy)
    found = lonlat_boxes(info, boxes)
    assert 0 < len(alone) < len(boxes) / 2
    to = pyproj.Transformer.from_crs(3031, 4326, always_xy=True)
    for box, (west, south, east, north), pole in zip(boxes, found, holds, strict=True):
        r, c = (np.linspace(a, b, 201) for a, b in ((box[0], box[2]), (box[1], box[3])))
        lon, lat = to.transform(*np.meshgrid(-4e6 + 1000 * c, 4e6 - 1000 * r))
        assert north == pytest.approx(lat.max(), abs=1e-7)
        if pole:
            assert (west, south, east) == (-180, -90, 180)
        else:
            # A twentieth of a pixel: the grid of points may miss the nearest one to the pole by less.
            assert lat.min() - 5e-4 < south <= lat.min() + 1e-9
            assert (west, east) == pytest.approx((lon.min(), lon.max()), abs=1e-7)


def test_crs_and_transform_must_agree() -> None:
    utm = (10, 0, 500000, 0, -10, 5300000)
    check_on_earth(grid(32632, utm, 100, 100))
    check_on_earth(grid(None, utm, 100, 100))
    check_on_earth(grid('LOCAL_CS["hall",UNIT["foot",0.3048]]', utm, 100, 100))
    check_on_earth(grid(MOON, (1, 0, 0, 0, -1, 90), 180, 360))
    check_on_earth(grid(4807, (1, 0, -200, 0, -1, 100), 200, 400))
    check_on_earth(grid("+proj=moll", (40000, 0, -18.1e6, 0, -40000, 9.1e6), 455, 905))
    # Registered at pixel centres, half a pixel beyond either pole.
    check_on_earth(grid(4326, (1, 0, -180.5, 0, -1, 90.5), 181, 360))
    with pytest.raises(InputError, match=r"5\.3e\+06°.*gdal_edit"):
        check_on_earth(grid(4326, utm, 100, 100))
    with pytest.raises(InputError, match=r"-95°.*beyond the pole"):
        check_on_earth(grid(4326, (1, 0, 0, 0, -1, 0), 95, 10))
    with pytest.raises(InputError, match=r"no point on the globe.*gdal_edit"):
        check_on_earth(grid("+proj=moll", (10, 0, 5e7, 0, -10, 5e7), 100, 100))
    with pytest.raises(InputError, match="no point on the globe"):
        check_on_earth(grid(3035, (10, 0, 5e9, 0, -10, 5e9), 100, 100))
