"""Any layout, values and place: what is read equals rasterio's, and a mask lies on the very grid."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.rpc import RPC
from rasterio.transform import Affine

from segmodels.bundles.card import ClassCard
from tasks.errors import InputError
from tasks.imagery.open import open_image
from tasks.imagery.protocol import Image
from tasks.imagery.wanted import Reading, Wanted
from tasks.imagery.writers import create_mask

SHAPE = (37, 41)
CLASSES = (
    ClassCard(name="a", code=0, colour="#000000", region=False),
    ClassCard(name="b", code=1, colour="#ff0000"),
)
LAYOUTS: dict[str, dict[str, Any]] = {
    "strips": {"blockysize": 7},
    "tiles": {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"},
    "big-endian": {"endianness": "big", "bigtiff": "yes"},
}
PLACES: dict[str, tuple[str | None, Affine]] = {
    "utm": ("EPSG:32632", Affine(10, 0, 5e5, 0, -10, 5e6)),
    "rotated": ("EPSG:32632", Affine(8.1, 3.3, 5e5, 2.7, -9.4, 5e6)),
    "third": ("EPSG:3857", Affine(1 / 3, 0, 1e6 / 7, 0, -1 / 3, 1e7 / 3)),
    "antimeridian": ("EPSG:4326", Affine(0.1, 0, 178.0, 0, -0.1, 60)),
    "none": (None, Affine(2, 0, 10, 0, -2, 20)),
}
NODATA: dict[str, Any] = {"none": None, "value": 7, "nan": np.nan}


def write(path: Path, values: np.ndarray, **profile: Any) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", count=len(values), height=values.shape[1], width=values.shape[2],
        dtype=values.dtype, **profile,
    ) as f:  # fmt: skip
        f.write(values)
    return path


def whole(image: Image) -> tuple[slice, ...]:
    return tuple(slice(0, n) for n in image.info.shape)


def same_grid(path: Path, image: Image, folder: Path) -> None:
    """A mask on the image's grid has its transform and its CRS, to the last bit."""
    writer = create_mask(image.info, folder / "mask.tif", classes=CLASSES, wide=False, tags={})
    writer.write(whole(image), np.ones(image.info.shape, np.uint8))
    writer.finish()
    with rasterio.open(path) as f, rasterio.open(folder / "mask.tif") as mask:
        assert (mask.shape, mask.transform, mask.crs) == (f.shape, f.transform, f.crs)
        assert np.array(mask.transform).tobytes() == np.array(f.transform).tobytes()


MATRIX = [
    case
    for i, case in enumerate(
        itertools.product(LAYOUTS, ["pixel", "band"], ["uint8", "int16", "float32"], NODATA, PLACES)
    )
    # NaN is no integer; of the rest every fourth, in which every pair of values occurs.
    if (case[3] != "nan" or case[2] == "float32") and i % 4 == 0
]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(("layout", "interleave", "dtype", "nodata", "place"), MATRIX)
def test_any_layout_values_and_place(
    tmp_path: Path, layout: str, interleave: str, dtype: str, nodata: str, place: str
) -> None:
    values = np.random.default_rng(0).integers(0, 12, (2, *SHAPE)).astype(dtype)
    missing = NODATA[nodata]
    if nodata == "nan":
        values[values == 7] = np.nan
    crs, transform = PLACES[place]
    options = {"interleave": interleave, "nodata": missing, "crs": crs, "transform": transform}
    path = write(tmp_path / "x.tif", values, **LAYOUTS[layout], **options)
    image = open_image(path, scratch=tmp_path)
    pixels = image.read(whole(image))
    np.testing.assert_array_equal(pixels.values.transpose(2, 0, 1), values)
    gone = {"none": np.zeros_like(values, bool), "value": values == 7, "nan": np.isnan(values)}[nodata]
    np.testing.assert_array_equal(pixels.valid, ~gone.any(0))
    assert any("areas are in pixels" in n for n in image.info.notes) == (crs is None)
    assert image.info.wraps == (False, False)
    same_grid(path, image, tmp_path)


def test_every_real_raster_keeps_its_grid(tmp_path: Path, shared_data: Path) -> None:
    paths = sorted(p for s in ("*.tif", "*.TIF", "*.tiff") for p in shared_data.rglob(s))
    assert len(paths) >= 20
    for path in paths:
        image = open_image(path, scratch=tmp_path)
        with rasterio.open(path) as f:
            assert np.array(image.info.grid["transform"]).tobytes() == np.array(f.transform)[:6].tobytes()
            crs = image.info.grid["crs"]
            assert (None if crs is None else CRS.from_wkt(crs)) == f.crs
            rows = slice(f.height // 2, min(f.height, f.height // 2 + 40))
            window = ((rows.start, rows.stop), (0, f.width))
            pixels = image.read((rows, slice(0, f.width)))
            kept = [i for i, c in enumerate(f.colorinterp) if c.name != "alpha"]
            np.testing.assert_array_equal(pixels.values.transpose(2, 0, 1), f.read(window=window)[kept])
        image.close()
    # The smallest of each folder, as masks.
    smallest = {p.parent: p for p in sorted(paths, key=lambda p: -p.stat().st_size)}
    for i, path in enumerate(smallest.values()):
        folder = tmp_path / str(i)
        folder.mkdir()
        same_grid(path, open_image(path, scratch=tmp_path), folder)


def test_each_band_has_its_own_nodata(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(1, 9, (2, *SHAPE)).astype("int16")
    for i in range(2):
        write(tmp_path / f"{i}.tif", values[i : i + 1], crs="EPSG:32632", transform=Affine(1, 0, 9, 0, -1, 9))
    band = """<VRTRasterBand dataType="Int16" band="{0}"><NoDataValue>{1}</NoDataValue><SimpleSource>
<SourceFilename relativeToVRT="1">{2}.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"""
    path = tmp_path / "x.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="41" rasterYSize="37">{band.format(1, 3, 0)}{band.format(2, 5, 1)}</VRTDataset>'
    )
    image = open_image(path, scratch=tmp_path)
    np.testing.assert_array_equal(image.read(whole(image)).valid, (values[0] != 3) & (values[1] != 5))


def test_scale_and_offset_give_the_units_of_the_card(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 20000, (2, *SHAPE)).astype("uint16")
    path = write(tmp_path / "x.tif", values, nodata=0, crs="EPSG:32632", transform=Affine(1, 0, 9, 0, -1, 9))
    with rasterio.open(path, "r+") as f:
        f.scales, f.offsets = (1e-4, 0.5), (-0.1, 3.0)
    image = open_image(path, scratch=tmp_path)
    assert (image.info.dtype, image.info.nodata) == ("float32", -0.1)
    (note,) = (n for n in image.info.notes if "--stored-units" in n)
    assert "0.0001 × stored -0.1 in band 1; 0.5 × stored +3 in band 2" in note
    pixels = image.read(whole(image))
    expected = [values[0] * 1e-4 - 0.1, values[1] * 0.5 + 3.0]
    np.testing.assert_array_equal(pixels.values.transpose(2, 0, 1), np.array(expected, "float32"))
    np.testing.assert_array_equal(pixels.valid, (values != 0).any(0))
    stored = open_image(path, scratch=tmp_path, wanted=Wanted(reading=Reading(units="stored")))
    assert (stored.info.dtype, stored.info.nodata) == ("uint16", 0)
    assert any("bands 1, 2 are not applied" in n for n in stored.info.notes)
    np.testing.assert_array_equal(stored.read(whole(stored)).values.transpose(2, 0, 1), values)
    with rasterio.open(path, "r+") as f:
        f.scales = (0.0, 0.5)
    with pytest.raises(InputError, match="gdal_edit -scale"):
        open_image(path, scratch=tmp_path)


def test_pictures_are_in_the_same_units(tmp_path: Path) -> None:
    from tasks.imagery.views.smaller import smaller

    values = np.full((1, 40, 40), 500, "uint16")
    path = write(tmp_path / "x.tif", values, crs="EPSG:32632", transform=Affine(1, 0, 9, 0, -1, 9))
    with rasterio.open(path, "r+") as f:
        f.scales, f.offsets = (0.01,), (1.0,)
    image = open_image(path, scratch=tmp_path)
    np.testing.assert_allclose(smaller(image, (0,), (4, 4)), 6.0)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_an_image_placed_by_rational_polynomials_only_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", np.ones((1, *SHAPE), "uint8"))
    with rasterio.open(path, "r+") as f:
        f.rpcs = RPC(
            height_off=0, height_scale=1, lat_off=50, lat_scale=1, line_den_coeff=[1.0] * 20,
            line_num_coeff=[1.0] * 20, line_off=10, line_scale=10, long_off=8, long_scale=1,
            samp_den_coeff=[1.0] * 20, samp_num_coeff=[1.0] * 20, samp_off=10, samp_scale=10,
        )  # fmt: skip
    with pytest.raises(InputError, match="gdalwarp -rpc"):
        open_image(path, scratch=tmp_path)
