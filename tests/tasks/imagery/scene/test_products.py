"""Products as delivered become one image in the units that a model asks for."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from segmodels.bundles.card import ChannelCard
from tasks.errors import InputError
from tasks.imagery.formats import FORMATS
from tasks.imagery.open import open_image
from tasks.imagery.wanted import Reading, Wanted

WHOLE = (slice(0, 24), slice(0, 36))


def wanted(*names: str, units: str | None = "reflectance", **how: Any) -> Wanted:
    return Wanted(channels=tuple(ChannelCard(name=n, units=units) for n in names), **how)


def stored(folder: Path, pattern: str) -> Any:
    with rasterio.open(next(folder.rglob(pattern))) as file:
        return file.read(1).astype(np.float64)


def read(source: Any, want: Wanted, scratch: Path) -> tuple[Any, Any]:
    image = open_image(source, scratch=scratch, wanted=want)
    try:
        return image.info, image.read(WHOLE)
    finally:
        image.close()


def test_landsat_level_2_is_reflectance_by_its_own_metadata(landsat: Path, tmp_path: Path) -> None:
    info, pixels = read(landsat, wanted("nir", "red", "green"), tmp_path)
    assert info.channels == ("B5", "B4", "B3")
    assert [b.wavelength_nm for b in info.bands] == [865, 655, 561]
    for i, n in enumerate((5, 4, 3)):
        np.testing.assert_allclose(
            pixels.values[..., i], stored(landsat, f"*SR_B{n}.TIF") * 2.75e-5 - 0.2, atol=1e-7
        )
    assert not pixels.valid[0, 0]
    assert pixels.valid.sum() == 24 * 36 - 1


def test_thermal_bands_become_kelvin(landsat: Path, tmp_path: Path) -> None:
    _, pixels = read(landsat, wanted("lwir11", units="K"), tmp_path)
    np.testing.assert_allclose(
        pixels.values[..., 0], stored(landsat, "*ST_B10.TIF") * 0.00341802 + 149, rtol=1e-6
    )


@pytest.mark.parametrize("kind", ["txt", "json", "xml"])
def test_landsat_level_1_takes_the_sun_into_account(landsat: Path, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "l1"
    folder.mkdir()
    name = "LC08_L1TP_003017_20200101_20200823_02_T1"
    for n in (3, 4):
        (folder / f"{name}_B{n}.TIF").write_bytes(next(landsat.glob(f"*SR_B{n}.TIF")).read_bytes())
    groups = {
        "IMAGE_ATTRIBUTES": {"SPACECRAFT_ID": "LANDSAT_8", "SUN_ELEVATION": "30.0"},
        "LEVEL1_RADIOMETRIC_RESCALING": {
            f"REFLECTANCE_{what}_BAND_{n}": value
            for n in (3, 4)
            for what, value in (("MULT", "2.0000E-05"), ("ADD", "-0.100000"))
        },
    }
    if kind == "txt":
        (folder / f"{name}_MTL.txt").write_bytes(next(landsat.glob("*_MTL.txt")).read_bytes())
    elif kind == "json":
        (folder / f"{name}_MTL.json").write_text(json.dumps({"LANDSAT_METADATA_FILE": groups}))
    else:
        inner = "".join(
            f"<{g}>{''.join(f'<{k}>{v}</{k}>' for k, v in e.items())}</{g}>" for g, e in groups.items()
        )
        (folder / f"{name}_MTL.xml").write_text(f"<LANDSAT_METADATA_FILE>{inner}</LANDSAT_METADATA_FILE>")
    _, pixels = read(folder, wanted("red", "green"), tmp_path)
    expected = (stored(landsat, "*SR_B4.TIF") * 2e-5 - 0.1) / math.sin(math.radians(30))
    np.testing.assert_allclose(pixels.values[..., 0], expected, atol=1e-7)


@pytest.mark.parametrize(
    ("level", "baseline", "offset"), [("2A", "05.09", -1000), ("1C", "04.00", -1000), ("2A", "03.01", None)]
)
def test_sentinel_2_has_an_offset_since_baseline_4(
    safe: Callable[..., Path], tmp_path: Path, level: str, baseline: str, offset: int | None
) -> None:
    folder = safe(level=level, baseline=baseline, offset=offset)
    info, pixels = read(folder, wanted("red", "nir"), tmp_path)
    assert info.shape == (24, 36)
    assert info.channels == ("B04", "B08")
    expected = (stored(folder, "*_B08_10m.tif") + (offset or 0)) / 10000
    np.testing.assert_allclose(pixels.values[..., 1], expected, atol=1e-7)
    assert not pixels.valid[0, 0]


def test_sentinel_2_without_its_offset_stays_as_stored_and_says_so(
    safe: Callable[..., Path], tmp_path: Path
) -> None:
    folder = safe(baseline="05.09", offset=None)
    info, pixels = read(folder, wanted("red"), tmp_path)
    np.testing.assert_array_equal(pixels.values[..., 0], stored(folder, "*_B04_10m.tif"))
    assert any("BOA_ADD_OFFSET" in note for note in info.notes)


def test_jpeg_2000_as_delivered(safe: Callable[..., Path], tmp_path: Path) -> None:
    if not any(".jp2" in f.suffixes for f in FORMATS):
        pytest.skip("JPEG 2000 is no format of this build")
    folder = safe(suffix=".jp2")
    _, pixels = read(folder, wanted("green"), tmp_path)
    np.testing.assert_allclose(
        pixels.values[..., 0], (stored(folder, "*_B03_10m.jp2") - 1000) / 1e4, atol=1e-7
    )


def test_numbers_stay_stored_where_asked_or_where_the_card_wants_none(landsat: Path, tmp_path: Path) -> None:
    for want in (wanted("red", reading=Reading(units="stored")), wanted("red", units=None)):
        info, pixels = read(landsat, want, tmp_path)
        assert info.dtype == "uint16"
        np.testing.assert_array_equal(pixels.values[..., 0], stored(landsat, "*SR_B4.TIF"))
    assert any("stored numbers" in n for n in info.notes)


def test_larger_pixels_need_the_cards_leave(safe: Callable[..., Path], tmp_path: Path) -> None:
    folder = safe()
    with pytest.raises(InputError, match=r"B11 \(2 times\).*band_resampling"):
        read(folder, wanted("red", "swir16"), tmp_path)
    _, pixels = read(folder, wanted("red", "swir16", resampling="nearest"), tmp_path)
    coarse = (stored(folder, "*_B11_20m.tif") - 1000) / 1e4
    np.testing.assert_allclose(pixels.values[..., 1], np.kron(coarse, np.ones((2, 2))), atol=1e-7)


def test_bilinear_is_scipys_and_the_same_from_any_window(
    safe: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scipy.ndimage import map_coordinates

    folder = safe()
    want = wanted("swir16", "red", units=None, resampling="bilinear")
    image = open_image(folder, scratch=tmp_path, wanted=want)
    coarse = stored(folder, "*_B11_20m.tif")
    at = np.meshgrid((np.arange(24) + 0.5) / 2 - 0.5, (np.arange(36) + 0.5) / 2 - 0.5, indexing="ij")
    expected = map_coordinates(coarse, at, order=1, mode="nearest")
    whole = image.read(WHOLE)
    far = (slice(4, 24), slice(4, 36))  # beyond what the pixel without data reaches
    np.testing.assert_allclose(whole.values[far][..., 0], expected[far], atol=0.5)
    window = (slice(7, 12), slice(3, 21))
    monkeypatch.setattr("tasks.imagery.views.enlarged._PIECE", 40)
    np.testing.assert_array_equal(image.read(WHOLE).values, whole.values)
    np.testing.assert_array_equal(image.read(window).values, whole.values[window])
    image.close()


def test_grids_that_do_not_nest_are_refused(band_file: Callable[..., Path], tmp_path: Path) -> None:
    one = band_file(tmp_path / "a_B2.tif", np.ones((20, 20), np.uint16))
    for other, how in (
        (np.ones((20, 20), np.uint16), {"corner": (600003.0, 5000040.0)}),
        (np.ones((20, 20), np.uint16), {"pixel": 15}),
        (np.ones((19, 20), np.uint16), {}),
    ):
        two = band_file(tmp_path / "a_B3.tif", other, **how)
        with pytest.raises(InputError, match=r"another grid.*gdalwarp"):
            open_image([one, two], scratch=tmp_path)
    band_file(two, np.ones((20, 20), np.uint16), crs="EPSG:32633")
    with pytest.raises(InputError, match="coordinate systems"):
        open_image([one, two], scratch=tmp_path)


def test_a_stac_item_names_bands_wavelengths_and_scale(
    band_file: Callable[..., Path], tmp_path: Path
) -> None:
    values = np.arange(2 * 24 * 36, dtype=np.uint16).reshape(2, 24, 36)
    band_file(tmp_path / "item" / "both.tif", values)
    band_file(tmp_path / "item" / "n.tif", values[0] + 7)
    asset = {"href": "./both.tif", "type": "image/tiff; application=geotiff", "roles": ["data"]}
    bands = [{"name": "G", "common_name": "green"}, {"name": "R", "center_wavelength": 0.66}]
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "assets": {
            "colours": {**asset, "eo:bands": bands},
            "nir": {**asset, "href": "n.tif", "raster:bands": [{"scale": 0.001, "offset": -0.1}]},
            "thumbnail": {"href": "t.png", "roles": ["thumbnail"]},
        },
    }
    path = tmp_path / "item" / "item.json"
    path.write_text(json.dumps(item))
    channels = (
        ChannelCard(name="nir", units="reflectance"),
        ChannelCard(name="colour", wavelength_nm=665),
        ChannelCard(name="green"),
    )
    _, pixels = read(path, Wanted(channels=channels), tmp_path)
    np.testing.assert_allclose(pixels.values[..., 0], (values[0] + 7) * 0.001 - 0.1, atol=1e-6)
    np.testing.assert_array_equal(pixels.values[..., 1], values[1])
    np.testing.assert_array_equal(pixels.values[..., 2], values[0])
    for href in ("../outside.tif", "/etc/passwd", "file:///etc/passwd", "ftp://x/y.tif"):
        item["assets"]["nir"]["href"] = href  # type: ignore[index]
        path.write_text(json.dumps(item))
        with pytest.raises(InputError, match="beside the item"):
            open_image(path, scratch=tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        "<a><b></a>",
        "<a>" * 200,
    ],
)
def test_metadata_that_is_no_plain_xml_is_refused(
    safe: Callable[..., Path], tmp_path: Path, text: str
) -> None:
    folder = safe()
    (folder / "MTD_MSIL2A.xml").write_text(text)
    with pytest.raises(InputError, match=r"MTD_MSIL2A\.xml"):
        open_image(folder, scratch=tmp_path)


def test_other_json_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "sidecar.json"
    path.write_text('{"Modality": "MR"}')
    with pytest.raises(InputError, match="no format known"):
        open_image(path, scratch=tmp_path)
