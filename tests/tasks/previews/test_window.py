"""Boxes in pixels, voxels and world coordinates, against other libraries' arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform_bounds
from rasterio.windows import from_bounds

from tasks.errors import InputError, UsageError
from tasks.imagery.open import open_image
from tasks.imagery.protocol import ImageInfo
from tasks.previews.window import locate_window, parse_window


def raster(folder: Path, *, shape=(60, 80), crs: Any = "EPSG:26914", transform: Any = None) -> ImageInfo:
    path = folder / "image.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=shape[0], width=shape[1], count=1, dtype="uint8", crs=crs,
        transform=transform or from_origin(485899, 5209246, 5, 5),
    ) as out:  # fmt: skip
        out.write(np.ones((1, *shape), np.uint8))
    return open_image(path, scratch=folder).info


def volume(folder: Path, affine: Any, shape=(10, 12, 14)) -> ImageInfo:
    nib.save(nib.Nifti1Image(np.zeros(shape, np.int16), affine), folder / "image.nii")
    return open_image(folder / "image.nii", scratch=folder).info


@pytest.mark.parametrize("text", ["10:30,20:50", " 10 : 30 , 20 : 50 ", "pixel:10:30,20:50"])
def test_ranges_are_rows_and_columns(tmp_path: Path, text: str) -> None:
    assert locate_window(text, raster(tmp_path)) == ((10, 20), (30, 50))


def test_open_and_overlong_ranges_end_with_the_image(tmp_path: Path) -> None:
    info = raster(tmp_path)
    assert locate_window(":,20:", info) == ((0, 20), (60, 80))
    assert locate_window("50:900,0:1", info) == ((50, 0), (60, 1))


def test_a_world_box_is_what_rasterio_makes_of_it(tmp_path: Path) -> None:
    info = raster(tmp_path)
    bounds = (485899 + 52.0, 5209246 - 203.0, 485899 + 148.0, 5209246 - 101.0)
    window = from_bounds(*bounds, transform=Affine(*info.grid["transform"]))
    low, high = locate_window("world:" + ",".join(map(str, bounds)), info)
    assert low == (int(window.row_off), int(window.col_off))
    assert high == tuple(
        int(np.ceil(v)) for v in (window.row_off + window.height, window.col_off + window.width)
    )


def test_a_box_on_pixel_edges_takes_no_pixel_more(tmp_path: Path) -> None:
    info = raster(tmp_path, crs="EPSG:4326", transform=from_origin(0.1, 0.3, 0.1, 0.1))
    assert locate_window("world:0.3,-0.3,0.6,0.1", info) == ((2, 2), (6, 5))


def test_degrees_find_their_pixels_in_another_projection(tmp_path: Path) -> None:
    info = raster(tmp_path)
    degrees = transform_bounds("EPSG:26914", "OGC:CRS84", 486000, 5209000, 486200, 5209200)
    low, high = locate_window("wgs84:" + ",".join(f"{v:.9f}" for v in degrees), info)
    back = transform_bounds("OGC:CRS84", "EPSG:26914", *degrees, densify_pts=63)
    window = from_bounds(*back, transform=Affine(*info.grid["transform"]))
    assert low == (int(window.row_off), int(window.col_off))
    assert high[0] == int(np.ceil(window.row_off + window.height))
    assert high[1] == int(np.ceil(window.col_off + window.width))


def test_a_rotated_raster_gives_the_window_that_holds_the_box(tmp_path: Path) -> None:
    transform = Affine.translation(1000, 2000) @ Affine.rotation(30) @ Affine.scale(2, -2)
    info = raster(tmp_path, transform=transform)
    low, high = locate_window("world:1040,1960,1060,1980", info)
    corners = [~transform @ (x, y) for x in (1040, 1060) for y in (1960, 1980)]
    columns, rows = zip(*corners, strict=True)
    assert low == (int(np.floor(min(rows))), int(np.floor(min(columns))))
    assert high == (int(np.ceil(max(rows))), int(np.ceil(max(columns))))


@pytest.mark.parametrize("west", [-180.0, 0.0])
def test_longitudes_a_turn_away_are_the_same_place(tmp_path: Path, west: float) -> None:
    info = raster(tmp_path, shape=(18, 36), crs="EPSG:4326", transform=from_origin(west, 90, 10, 10))
    low, high = locate_window("wgs84:-40,0,-20,30", info)
    assert (low[0], high[0]) == (6, 9)
    assert (low[1] * 10 + west) % 360 == 320
    assert high[1] - low[1] == 2


def test_a_window_across_the_seam_of_a_global_image_is_refused(tmp_path: Path) -> None:
    info = raster(tmp_path, shape=(18, 36), crs="EPSG:4326", transform=from_origin(0, 90, 10, 10))
    with pytest.raises(InputError, match="wraps around"):
        locate_window("wgs84:-20,0,20,30", info)
    with pytest.raises(UsageError, match="antimeridian"):
        parse_window("wgs84:170,-10,-170,10")


AFFINES = [
    np.diag([1.0, 2.0, 3.5, 1.0]),
    np.diag([-1.0, -2.0, 3.5, 1.0]),
    np.array([[0, 0, -2.0, 50], [1.5, 0, 0, -7], [0, -1, 0, 12], [0, 0, 0, 1]]),
]


@pytest.mark.parametrize("affine", AFFINES, ids=["RAS", "LPS", "ALI"])
def test_voxels_are_the_files_own(tmp_path: Path, affine: Any) -> None:
    info = volume(tmp_path, affine)
    values = np.arange(10 * 12 * 14, dtype=np.int16).reshape(10, 12, 14)
    image = nib.Nifti1Image(values, affine)
    nib.save(image, tmp_path / "numbered.nii")
    low, high = locate_window("voxel:2:5,3:9,4:14", info)
    seen = open_image(tmp_path / "numbered.nii", scratch=tmp_path).read(tuple(map(slice, low, high)))
    expected = nib.as_closest_canonical(image.slicer[2:5, 3:9, 4:14])
    np.testing.assert_array_equal(seen.values[..., 0], np.asanyarray(expected.dataobj).transpose(2, 1, 0))


@pytest.mark.parametrize("affine", AFFINES, ids=["RAS", "LPS", "ALI"])
def test_millimetres_of_voxel_centres_find_these_voxels(tmp_path: Path, affine: Any) -> None:
    info = volume(tmp_path, affine)
    first, last = np.array([2, 3, 4]), np.array([4, 8, 13])
    ends = np.sort([affine[:3, :3] @ v + affine[:3, 3] for v in (first, last)], axis=0)
    box = np.concatenate([ends[0] - 0.01, ends[1] + 0.01])
    assert locate_window("world:" + ",".join(map(str, box)), info) == locate_window("2:5,3:9,4:14", info)


def test_a_series_keeps_all_frames(tmp_path: Path) -> None:
    info = volume(tmp_path, np.eye(4), shape=(10, 12, 14, 5))
    assert locate_window("2:5,3:9", info) == ((0, 0, 3, 2), (5, 14, 9, 5))


@pytest.mark.parametrize(
    "text", ["", "1,2,3,4", "1:2", "1:2,3:4,5:6,7:8", "a:b,1:2", "world:1,2,3", "world:1,2,nan,4", "wgs84:1,2,3,4,5,6",
             "-3:4,1:2", "4:2,1:5", "3:3,1:5", "world:5,0,1,9", "utm:1,2,3,4", "١:٢,1:2"],
)  # fmt: skip
def test_what_is_no_box_is_a_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="--window"):
        parse_window(text)


def test_what_does_not_fit_the_image_is_refused(tmp_path: Path) -> None:
    info = raster(tmp_path)
    for text in ("60:70,0:5", "world:0,0,10,10", "wgs84:100,10,101,11"):
        with pytest.raises(InputError, match=r"rows 0:60, columns 0:80, x 485899 to 486299"):
            locate_window(text, info)
    with pytest.raises(UsageError):
        locate_window("0:1,0:1,0:1", info)
    with pytest.raises(InputError, match="no CRS"):
        locate_window("wgs84:0,0,1,1", raster(tmp_path, crs=None))
    solid = volume(tmp_path, np.eye(4))
    with pytest.raises(InputError, match=r"i 0:10, j 0:12, k 0:14 and x -0.5 to 9.5"):
        locate_window("world:100,0,0,110,5,5", solid)
    for text in ("world:0,0,5,5", "wgs84:0,0,5,5"):
        with pytest.raises(UsageError):
            locate_window(text, solid)
