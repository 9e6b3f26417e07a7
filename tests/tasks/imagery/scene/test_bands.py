"""Which band becomes which channel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segmodels.bundles.card import ChannelCard
from tasks.errors import InputError
from tasks.imagery.bands import Band
from tasks.imagery.open import open_image
from tasks.imagery.scene.choice import choose
from tasks.imagery.scene.sensors import band_of_file
from tasks.imagery.source import Source
from tasks.imagery.wanted import Reading, Wanted

SENTINEL = tuple(
    band_of_file(f"T32TQM_20240101T101409_{n}_10m.jp2")
    for n in ("B02", "B03", "B04", "B05", "B08", "B8A", "B11")
)


def card(*names: str, **waves: float) -> tuple[ChannelCard, ...]:
    return tuple(ChannelCard(name=n, wavelength_nm=waves.get(n)) for n in names)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (("B04", "b3", "B2"), (2, 1, 0)),
        (("3", "1"), (2, 0)),
        (("665nm", "842 nm", "1.61um"), (2, 4, 6)),
        (("Red", "NIR", "narrow nir", "SWIR1"), (2, 4, 5, 6)),
    ],
)
def test_bands_by_name_number_and_wavelength(asked: tuple[str, ...], found: tuple[int, ...]) -> None:
    assert choose(SENTINEL, Wanted(reading=Reading(bands=asked)), label="x") == found  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (("B07",), "no band 'B07'.*B02"),
        (("8",), "no band 8"),
        (("1064nm",), "no band at 1064nm"),
        (("B8A",), "B8A .*as channel red"),
        (("B04", "B03"), "names 2 bands and the model wants 1"),
    ],
)
def test_what_is_not_there_or_is_something_else_is_refused(asked: tuple[str, ...], says: str) -> None:
    with pytest.raises(InputError, match=says):
        choose(SENTINEL, Wanted(channels=card("red"), reading=Reading(bands=asked)), label="x")  # type: ignore[arg-type]


def test_the_card_decides_where_nothing_is_said() -> None:
    assert choose(SENTINEL, Wanted(channels=card("nir", "R", "B2")), label="x") == (4, 2, 0)  # type: ignore[arg-type]
    assert choose(SENTINEL, Wanted(channels=card("c1", "c2", c1=650, c2=850)), label="x") == (2, 5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"B02 \(blue, 492 nm\).*wants swir22"):
        choose(SENTINEL, Wanted(channels=card("red", "swir22")), label="x")  # type: ignore[arg-type]


def test_the_same_number_means_another_colour_on_another_sensor() -> None:
    for file, colour in (("LT05_L2SP_x_SR_B4.TIF", "nir"), ("LC08_L2SP_x_SR_B4.TIF", "red")):
        band = band_of_file(file)
        assert band is not None
        assert colour in band.known_as
    assert band_of_file("dem.tif") is None
    assert band_of_file("field_B4.tif") == Band("B4", file="field_B4.tif")


def test_names_without_meaning_leave_the_order_alone() -> None:
    unnamed = [Band("band1", given=False), Band("band2", given=False)]
    assert choose(unnamed, Wanted(channels=card("red", "nir")), label="x") is None
    assert choose(unnamed, Wanted(channels=card("B2", "B1")), label="x") is None
    described = [Band("blue"), Band("green"), Band("red")]
    assert choose(described, Wanted(channels=card("red", "green", "blue")), label="x") == (2, 1, 0)
    with pytest.raises(InputError, match="wants nir"):
        choose(described, Wanted(channels=card("red", "green", "nir")), label="x")


def test_only_the_chosen_bands_of_a_file_are_channels(band_file: Callable[..., Path], tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(1, 255, (5, 24, 36)).astype(np.uint8)
    path = band_file(
        tmp_path / "a.tif", values, descriptions=("coastal", "blue", "green", "red", "nir"), nodata=0
    )
    image = open_image(path, scratch=tmp_path, wanted=Wanted(channels=card("red", "green", "nir")))
    assert image.info.channels == ("red", "green", "nir")
    whole = (slice(0, 24), slice(0, 36))
    np.testing.assert_array_equal(image.read(whole).values, np.moveaxis(values[[3, 2, 4]], 0, -1))
    image.close()


def test_a_band_tagged_alpha_is_a_channel_where_it_is_named(
    band_file: Callable[..., Path], tmp_path: Path
) -> None:
    values = np.random.default_rng(0).integers(0, 255, (4, 24, 36)).astype(np.uint8)
    path = band_file(tmp_path / "a.tif", values, photometric="RGB", alpha="YES")
    image = open_image(path, scratch=tmp_path, wanted=Wanted(reading=Reading(bands=("4", "1"))))
    pixels = image.read((slice(0, 24), slice(0, 36)))
    np.testing.assert_array_equal(pixels.values, np.moveaxis(values[[3, 0]], 0, -1))
    assert pixels.valid.all()
    image.close()


def test_gdals_and_envis_wavelengths_are_known(band_file: Callable[..., Path], tmp_path: Path) -> None:
    import rasterio

    path = band_file(tmp_path / "a.tif", np.ones((2, 24, 36), np.uint16))
    with rasterio.open(path, "r+") as file:
        file.update_tags(1, wavelength="0.865", wavelength_units="Micrometers")
        file.update_tags(2, ns="IMAGERY", CENTRAL_WAVELENGTH_UM="0.655")
    wanted = Wanted(channels=card("one", "two", one=660, two=860))
    image = open_image(path, scratch=tmp_path, wanted=wanted)
    assert [b.wavelength_nm for b in image.info.bands] == [655, 865]
    image.close()


def test_files_named_by_channel_are_put_in_the_models_order(landsat: Path, tmp_path: Path) -> None:
    four, five = (str(next(landsat.glob(f"*SR_B{n}.TIF"))) for n in (4, 5))
    want = Wanted(channels=card("red", "nir"))
    image = open_image(Source.parse([f"nir={five}", f"red={four}"]), scratch=tmp_path, wanted=want)
    assert [Path(b.file or "").name[-6:] for b in image.info.bands] == ["B4.TIF", "B5.TIF"]
    image.close()
    # Whether the card tells their wavelengths or not: what is said of a file is neither taken nor undone.
    for swapped in (want, Wanted(channels=card("red", "nir", red=650.0, nir=840.0))):
        with pytest.raises(InputError, match=r"B4\.TIF is given as nir and is .*655 nm"):
            open_image(Source.parse([f"nir={four}", f"red={five}"]), scratch=tmp_path, wanted=swapped)
    three = next(landsat.glob("*SR_B3.TIF"))
    with pytest.raises(InputError, match=r"extra.*leave the file out"):
        open_image(
            Source.parse([f"nir={five}", f"red={four}", f"extra={three}"]), scratch=tmp_path, wanted=want
        )


def test_a_pattern_is_the_files_it_matches(landsat: Path) -> None:
    source = Source.parse([str(landsat / "*_SR_B[34].TIF")])
    assert [Path(p.uri).name[-6:] for p in source.parts] == ["B3.TIF", "B4.TIF"]
    assert source.name == f"{landsat.name}_SR"
    assert Source.of("a/S2B_X.SAFE/MTD_MSIL2A.xml").name == Source.of("a/S2B_X.SAFE").name == "S2B_X"


def test_real_bands_become_the_channels_of_a_card(shared_data: Path, tmp_path: Path) -> None:
    source = Source.parse([str(shared_data / "landsat8-bands" / "LC8*_B*.tiff")])
    want: Any = Wanted(channels=card("red", "green", "blue", "nir"))
    image = open_image(source, scratch=tmp_path, wanted=want)
    assert image.info.channels == ("B4", "B3", "B2", "B5")
    assert image.info.shape == (1093, 1310)
    image.close()
