"""Windows, validity and layout of GeoTIFFs against rasterio itself."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from tasks.errors import InputError
from tasks.imagery.open import describe, open_image
from tasks.imagery.wanted import Wanted

NORTH_UP = Affine(10, 0, 500000, 0, -10, 5300000)
ROTATED = Affine(8.1, 3.3, 500000, 2.7, -9.4, 5300000)
GLOBAL = Affine(1, 0, -180, 0, -1, 90)
HALF = 20037508.342789244


def write(path: Path, bands: np.ndarray, **profile: Any) -> Path:
    options = {"crs": "EPSG:32632", "transform": NORTH_UP, "photometric": "MINISBLACK"} | profile
    with rasterio.open(
        path, "w", driver="GTiff", count=len(bands), height=bands.shape[1], width=bands.shape[2],
        dtype=bands.dtype, **options,
    ) as f:  # fmt: skip
        f.write(bands)
    return path


def bands(dtype: str, count: int, shape: tuple[int, int] = (37, 53), seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    low = 0 if np.dtype(dtype).kind == "u" else -100
    return rng.integers(low, 101, (count, *shape)).astype(dtype)


def everything(shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(0, n) for n in shape)


LAYOUTS = [
    {},
    {"blockysize": 5},
    {"tiled": True, "blockxsize": 16, "blockysize": 32},
    {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate", "predictor": 2},
]


@pytest.mark.parametrize(
    ("layout", "interleave", "dtype"),
    list(
        itertools.product(
            LAYOUTS,
            ["pixel", "band"],
            ["uint8", "int8", "uint16", "int16", "int32", "uint32", "float32", "float64"],
        )
    ),
)
def test_windows_equal_rasterio(tmp_path: Path, layout: dict[str, Any], interleave: str, dtype: str) -> None:
    values = bands(dtype, 3)
    layout = {k: v for k, v in layout.items() if k != "predictor" or np.dtype(dtype).kind != "f"}
    path = write(tmp_path / "x.tif", values, interleave=interleave, nodata=7, **layout)
    image = open_image(path, scratch=tmp_path)
    assert image.info.shape == (37, 53)
    assert image.info.dtype == dtype
    assert image.info.nodata == 7
    with rasterio.open(path) as f:
        for window in [
            (slice(0, 37), slice(0, 53)),
            (slice(3, 19), slice(11, 12)),
            (slice(36, 37), slice(15, 53)),
        ]:
            pixels = image.read(window)
            where = rasterio.windows.Window.from_slices(*window)
            assert pixels.values.dtype == np.dtype(dtype)
            np.testing.assert_array_equal(pixels.values, np.moveaxis(f.read(window=where), 0, -1))
            np.testing.assert_array_equal(pixels.valid, (f.read_masks(window=where) > 0).all(axis=0))
    image.close()


def test_one_band_validity_is_the_dataset_mask(tmp_path: Path, shared_data: Path) -> None:
    for name in (
        "elevation/dtm.tif",
        "rasterstats/slope_nodata.tif",
        "landsat8-bands/LC80030172015001LGN00_B2.tiff",
    ):
        image = open_image(shared_data / name, scratch=tmp_path)
        with rasterio.open(shared_data / name) as f:
            expected = f.dataset_mask() > 0
        np.testing.assert_array_equal(image.read(everything(image.info.shape)).valid, expected)


def test_real_scene(tmp_path: Path, shared_data: Path) -> None:
    path = shared_data / "naip" / "m_4709963_se_14_1_20140720.tif"
    image = open_image(path, scratch=tmp_path)
    window = (slice(100, 300), slice(600, 934))
    with rasterio.open(path) as f:
        raw = f.read(window=rasterio.windows.Window.from_slices(*window))
    pixels = image.read(window)
    np.testing.assert_array_equal(pixels.values, np.moveaxis(raw, 0, -1))
    assert (raw == 0).any(axis=0).any()  # dark water: a measurement, not a hole
    np.testing.assert_array_equal(pixels.valid, (raw != 0).any(axis=0))
    assert describe(image.info) == "GeoTIFF, 934 × 723 pixels, 4 channels of uint8, EPSG:26914, pixel 5 × 5 m"


@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", 0), ("uint16", 65535), ("int16", 0), ("float32", 0)])
def test_nodata_that_may_be_a_measurement_counts_where_all_bands_have_it(
    tmp_path: Path, dtype: str, nodata: float
) -> None:
    values = np.full((2, 37, 53), 9, dtype)
    values[0, 1, 1] = nodata
    values[:, 2, 2] = nodata
    path = write(tmp_path / "x.tif", values, nodata=nodata)
    valid = open_image(path, scratch=tmp_path).read(everything((37, 53))).valid
    holes = {tuple(h) for h in np.argwhere(~valid).tolist()}
    assert holes == ({(2, 2)} if dtype.startswith("u") else {(1, 1), (2, 2)})
    if dtype.startswith("u"):
        with rasterio.open(path) as f:
            np.testing.assert_array_equal(valid, f.dataset_mask() > 0)


def test_nan_and_infinity_are_not_valid(tmp_path: Path) -> None:
    values = bands("float32", 2)
    values[0, 1, 2], values[1, 3, 4], values[1, 5, 6] = np.nan, np.inf, -np.inf
    values[0, 7, 8] = -9999
    for nodata in (None, np.nan, -9999):
        path = write(tmp_path / "x.tif", values, nodata=nodata)
        valid = open_image(path, scratch=tmp_path).read(everything((37, 53))).valid
        holes = set(zip(*np.nonzero(~valid), strict=True))
        assert holes == {(1, 2), (3, 4), (5, 6)} | ({(7, 8)} if nodata == -9999 else set())


def test_alpha_is_a_mask_unless_the_model_wants_it(tmp_path: Path) -> None:
    values = bands("uint8", 4)
    values[3] = np.where(values[3] > 50, 255, 0)
    path = write(tmp_path / "x.tif", values, photometric="RGB", alpha="YES")
    with rasterio.open(path) as f:
        assert f.colorinterp[3] == ColorInterp.alpha
    image = open_image(path, scratch=tmp_path)
    pixels = image.read(everything((37, 53)))
    assert len(image.info.channels) == 3
    np.testing.assert_array_equal(pixels.valid, values[3] > 0)
    wanted = open_image(path, scratch=tmp_path, wanted=Wanted(count=4))
    pixels = wanted.read(everything((37, 53)))
    assert pixels.values.shape[-1] == 4
    assert pixels.valid.all()
    assert "alpha" in wanted.info.notes[0]


def test_internal_mask(tmp_path: Path) -> None:
    mask = np.zeros((37, 53), bool)
    mask[4:20, 5:30] = True
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write(tmp_path / "x.tif", bands("uint8", 3))
        with rasterio.open(path, "r+") as f:
            f.write_mask(mask)
    assert list(tmp_path.iterdir()) == [path]
    np.testing.assert_array_equal(open_image(path, scratch=tmp_path).read(everything((37, 53))).valid, mask)


def test_names_come_from_descriptions(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", bands("uint8", 2))
    with rasterio.open(path, "r+") as f:
        f.set_band_description(2, "nir")
    assert open_image(path, scratch=tmp_path).info.channels == ("band1", "nir")


def test_names_are_unique_and_never_empty(tmp_path: Path) -> None:
    given = ["red", "red", "  ", "red_2", "Red", "Confidence", "two\n words", "band3"]
    path = write(tmp_path / "x.tif", bands("uint8", len(given)))
    with rasterio.open(path, "r+") as f:
        for i, name in enumerate(given, 1):
            f.set_band_description(i, name)
    names = open_image(path, scratch=tmp_path).info.channels
    assert names == ("red", "red_3", "band3", "red_2", "Red_4", "Confidence_1", "two words", "band3_2")


def test_no_crs_is_noted_and_rotation_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", bands("uint8", 1), crs=None, transform=ROTATED)
    info = open_image(path, scratch=tmp_path).info
    assert info.grid["crs"] is None
    assert info.grid["transform"] == tuple(ROTATED[:6])
    assert any("no CRS" in n for n in info.notes)


@pytest.mark.parametrize(
    ("crs", "transform", "wraps"),
    [
        ("EPSG:4326", GLOBAL, True),
        ("EPSG:4326", Affine(0.99999, 0, -180, 0, -1, 90), True),
        ("EPSG:4326", Affine(0.99, 0, -180, 0, -1, 90), False),
        ("EPSG:4326", Affine(1, 0.01, -180, 0, -1, 90), False),
        ("EPSG:4807", Affine(400 / 360, 0, -200, 0, -1, 90), True),
        ("EPSG:3857", Affine(1, 0, -180, 0, -1, 90), False),
        # South-up, from 0 to 360°, and both.
        ("EPSG:4326", Affine(1, 0, -180, 0, 1, -90), True),
        ("EPSG:4326", Affine(1, 0, 0, 0, -1, 90), True),
        ("EPSG:4326", Affine(1, 0, 0.3, 0, 1, -90), True),
        # Half the equator of WGS84, π · 6378137 m, left and right of the meridian.
        ("EPSG:4087", Affine(HALF / 180, 0, -HALF, 0, -1e6, 9e6), True),
        ("EPSG:4087", Affine(HALF / 180, 0, 0, 0, 1e6, -9e6), True),
        ("EPSG:4087", Affine(HALF / 180 * (1 + 0.4 / 360), 0, -HALF, 0, -1e6, 9e6), True),
        ("EPSG:4087", Affine(HALF / 180 * (1 + 0.6 / 360), 0, -HALF, 0, -1e6, 9e6), False),
        ("EPSG:4087", Affine(HALF / 180, 1, -HALF, 0, -1e6, 9e6), False),
        ("EPSG:4087", Affine(HALF / 360, 0, -HALF, 0, -1e6, 9e6), False),
        ("EPSG:4087", Affine(HALF / 90, 0, -HALF, 0, -1e6, 9e6), False),
        ("EPSG:3857", Affine(HALF / 180, 0, -HALF, 0, -HALF / 9, HALF), True),
        # The ends of a row are the same meridian nowhere, or on the equator only.
        ("EPSG:3031", Affine(HALF / 180, 0, -HALF, 0, -1e6, 9e6), False),
        ("ESRI:54009", Affine(100222.75, 0, -18040096, 0, -1e6, 9e6), False),
        ("ESRI:54008", Affine(HALF / 180, 0, -HALF, 0, -1e6, 9e6), False),
        ("EPSG:32632", Affine(HALF / 180, 0, -HALF, 0, -1e6, 9e6), False),
    ],
)
def test_wraps(tmp_path: Path, crs: str, transform: Affine, wraps: bool) -> None:
    path = write(tmp_path / "x.tif", np.zeros((1, 18, 360), "uint8"), crs=crs, transform=transform)
    assert open_image(path, scratch=tmp_path).info.wraps == (False, wraps)


def test_many_threads_read_one_image(tmp_path: Path) -> None:
    values = bands("uint16", 2, (400, 300))
    path = write(tmp_path / "x.tif", values, tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    image = open_image(path, scratch=tmp_path)
    gate = threading.Barrier(8)

    def read(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        gate.wait()
        for _ in range(20):
            r, c = int(rng.integers(0, 399)), int(rng.integers(0, 299))
            window = (slice(r, min(r + 90, 400)), slice(c, min(c + 90, 300)))
            got = image.read(window).values
            if not np.array_equal(got, np.moveaxis(values[:, window[0], window[1]], 0, -1)):
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))
    image.close()
    with pytest.raises(ValueError, match="closed"):
        image.read(everything((10, 10)))


def test_a_corrupt_block_is_an_input_error(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", bands("uint8", 1, (256, 256)), tiled=True, blockxsize=64, blockysize=64,
                 compress="deflate")  # fmt: skip
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 500] = bytes([255]) * 500
    path.write_bytes(data)
    image = open_image(path, scratch=tmp_path)
    with pytest.raises(InputError, match="damaged"):
        image.read(everything((256, 256)))
    assert image.read((slice(0, 10), slice(0, 10))).valid.all()
