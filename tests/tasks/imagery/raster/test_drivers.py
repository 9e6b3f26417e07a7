"""Rasters of other formats give what rasterio gives, and files that are not what their name says are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from tasks.errors import InputError
from tasks.imagery.open import describe, open_image

NORTH_UP = Affine(10, 0, 500000, 0, -10, 5300000)
#: Format, file, driver, types, options.
FORMATS: list[tuple[str, str, str, list[str], dict[str, Any]]] = [
    ("jpeg2000", "x.jp2", "JP2OpenJPEG", ["uint8", "uint16"], {"quality": "100", "reversible": "yes"}),
    ("erdas", "x.img", "HFA", ["uint8", "int16", "float32"], {}),
    ("envi", "x.dat", "ENVI", ["uint8", "int16", "float64"], {}),
    ("envi", "y.img", "ENVI", ["uint16"], {"interleave": "bil"}),
    ("png", "x.png", "PNG", ["uint8", "uint16"], {}),
    ("jpeg", "x.jpg", "JPEG", ["uint8"], {}),
]
CASES = [(f, n, d, t, o) for f, n, d, types, o in FORMATS for t in types]


def write(path: Path, values: np.ndarray, driver: str, **options: Any) -> Path:
    profile = {"crs": "EPSG:32632", "transform": NORTH_UP} | options
    with rasterio.open(
        path, "w", driver=driver, count=len(values), height=values.shape[1], width=values.shape[2],
        dtype=values.dtype, **profile,
    ) as f:  # fmt: skip
        f.write(values)
    return path


def values_of(dtype: str, count: int = 3, shape: tuple[int, int] = (45, 61)) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, (count, *shape)).astype(dtype)


@pytest.mark.parametrize(("name", "file", "driver", "dtype", "options"), CASES)
def test_windows_and_grid_equal_rasterio(
    tmp_path: Path, name: str, file: str, driver: str, dtype: str, options: dict[str, Any]
) -> None:
    path = write(tmp_path / file, values_of(dtype), driver, **options)
    image = open_image(path, scratch=tmp_path)
    info = image.info
    with rasterio.open(path) as f:
        assert (info.format, info.kind, info.shape) == (name, "raster", f.shape)
        assert info.grid["transform"] == tuple(f.transform[:6])
        assert rasterio.crs.CRS.from_wkt(info.grid["crs"]) == f.crs
        for rows, columns in [((0, 45), (0, 61)), ((3, 17), (20, 21))]:
            pixels = image.read((slice(*rows), slice(*columns)))
            np.testing.assert_array_equal(pixels.values.transpose(2, 0, 1), f.read(window=(rows, columns)))
            assert pixels.valid.all()
    assert f"61 × 45 pixels, 3 channels of {dtype}" in describe(info)
    image.close()


def test_an_alpha_band_of_a_png_is_its_mask(tmp_path: Path) -> None:
    values = values_of("uint8", 4)
    values[3] = 255
    values[3, :5] = 0
    path = write(tmp_path / "x.png", values, "PNG")
    pixels = open_image(path, scratch=tmp_path).read((slice(0, 45), slice(0, 61)))
    assert pixels.values.shape[-1] == 3
    assert not pixels.valid[:5].any()
    assert pixels.valid[5:].all()


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(("file", "driver"), [("x.png", "PNG"), ("x.jpg", "JPEG"), ("x.jp2", "JP2OpenJPEG")])
def test_one_pixel_without_any_place(tmp_path: Path, file: str, driver: str) -> None:
    plain = {"GMLJP2": "NO", "GeoJP2": "NO"} if driver == "JP2OpenJPEG" else {}
    values = np.full((1, 1, 1), 7, "uint8")
    path = write(tmp_path / file, values, driver, crs=None, transform=Affine.identity(), **plain)
    for beside in tmp_path.glob("*.aux.xml"):
        beside.unlink()
    image = open_image(path, scratch=tmp_path)
    assert image.info.shape == (1, 1)
    pictures = driver in ("PNG", "JPEG", "BMP")
    assert any(("no CRS", "nothing of its place on Earth")[pictures] in n for n in image.info.notes)
    assert image.read((slice(0, 1), slice(0, 1))).values.shape == (1, 1, 1)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("x.jp2", "not a JPEG 2000 image"),
        ("x.img", "not an ERDAS image"),
        ("x.jpg", "not a JPEG"),
        ("x.tif", "not a TIFF"),
        ("x.vrt", "no valid VRT"),
        ("x.nc", "not a NetCDF file"),
        ("x.h5", "not an HDF5 file"),
        ("x.dat", "no ENVI header"),
    ],
)
def test_a_png_of_another_name_is_refused(tmp_path: Path, file: str, words: str) -> None:
    made = write(tmp_path / "made.png", values_of("uint8"), "PNG")
    made.rename(tmp_path / file)
    with pytest.raises(InputError, match=words):
        open_image(tmp_path / file, scratch=tmp_path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jp2").touch()
    with pytest.raises(InputError, match="is empty"):
        open_image(tmp_path / "x.jp2", scratch=tmp_path)


def test_raw_data_shorter_than_their_header_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.dat", values_of("int16"), "ENVI")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="truncated"):
        open_image(path, scratch=tmp_path)


def test_a_damaged_jpeg_2000_is_an_input_error(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jp2", values_of("uint8", shape=(300, 300)), "JP2OpenJPEG")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3])
    with pytest.raises(InputError):
        open_image(path, scratch=tmp_path).read((slice(0, 300), slice(0, 300)))


@pytest.mark.parametrize("suffix", [".msk", ".ovr"])
def test_no_file_beside_an_image_leads_elsewhere(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / "x.tif", values_of("uint8"), "GTiff")
    path.with_name("x.tif" + suffix).write_text("<VRTDataset rasterXSize='61' rasterYSize='45'/>")
    with pytest.raises(InputError, match="is not a TIFF: remove it"):
        open_image(path, scratch=tmp_path)


@pytest.mark.parametrize("inside", [True, False])
def test_no_image_names_a_file_for_its_overviews(
    tmp_path: Path, inside: bool, connections: tuple[int, list[object]]
) -> None:
    port, came = connections
    path = write(tmp_path / "x.tif", values_of("uint8"), "GTiff")
    elsewhere = f"/vsicurl/http://127.0.0.1:{port}/x.tif"
    if inside:
        with rasterio.open(path, "r+") as f:
            f.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=elsewhere)
    else:
        path.with_name("x.tif.aux.xml").write_text(
            '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">'
            f"{elsewhere}</MDI></Metadata></PAMDataset>"
        )
    with pytest.raises(InputError, match="no image may name other files"):
        open_image(path, scratch=tmp_path)
    assert not came
