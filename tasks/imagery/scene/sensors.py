"""Bands of the sensors whose files are named after band numbers: what each number measures."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from tasks.imagery.bands import Band, plain

#: Per sensor and band: STAC's common names, central wavelength in nm. Sources: the missions' handbooks.
SENSORS: dict[str, dict[str, tuple[tuple[str, ...], float]]] = {
    "sentinel-2": {
        "B01": (("coastal",), 443),
        "B02": (("blue",), 492),
        "B03": (("green",), 560),
        "B04": (("red",), 665),
        "B05": (("rededge071", "rededge1"), 704),
        "B06": (("rededge075", "rededge2"), 741),
        "B07": (("rededge078", "rededge3"), 783),
        "B08": (("nir",), 833),
        "B8A": (("nir08", "narrow nir"), 865),
        "B09": (("nir09", "water vapour"), 945),
        "B10": (("cirrus",), 1374),
        "B11": (("swir16",), 1614),
        "B12": (("swir22",), 2202),
    },
    "landsat-oli": {
        "B1": (("coastal",), 443),
        "B2": (("blue",), 482),
        "B3": (("green",), 561),
        "B4": (("red",), 655),
        "B5": (("nir08", "nir"), 865),
        "B6": (("swir16",), 1609),
        "B7": (("swir22",), 2201),
        "B8": (("pan",), 590),
        "B9": (("cirrus",), 1373),
        "B10": (("lwir11",), 10895),
        "B11": (("lwir12",), 12005),
    },
    "landsat-tm": {
        "B1": (("blue",), 485),
        "B2": (("green",), 560),
        "B3": (("red",), 660),
        "B4": (("nir08", "nir"), 830),
        "B5": (("swir16",), 1650),
        "B6": (("lwir",), 11450),
        "B7": (("swir22",), 2215),
        "B8": (("pan",), 710),
    },
}
_PRODUCTS = (
    (re.compile(r"L[COT]0?[89]\d?_?"), "landsat-oli"),
    (re.compile(r"L[EMT]0?[4-7]\d?_?"), "landsat-tm"),
    (re.compile(r"S2[ABCD]_|T\d\d[A-Z]{3}_\d{8}T"), "sentinel-2"),
)
_BAND = re.compile(r"(?:^|[_.-])(?:(SR|ST|TOA)_)?(B\d{1,2}A?)(?:_\d\dm)?(?:_VCID_\d)?$", re.IGNORECASE)


def sensor_of(name: str) -> str | None:
    """The sensor that a product's file or folder is named after."""
    return next((sensor for pattern, sensor in _PRODUCTS if pattern.match(name.upper())), None)


def band_id(name: str) -> str | None:
    """The band number at the end of a file's name without extension: ``B4`` of ``LC08_..._SR_B4``."""
    found = _BAND.search(name)
    return None if found is None else found[2].upper()


def sensor_band(sensor: str | None, number: str, *, file: str | None = None) -> Band:
    """A band by its number, with what its sensor's table knows of it."""
    for known, (aliases, wavelength) in SENSORS.get(sensor or "", {}).items():
        if plain(known) == plain(number):
            return Band(name=number, aliases=aliases, wavelength_nm=wavelength, file=file)
    return Band(name=number, file=file)


def band_of_file(file: str) -> Band | None:
    """The band that a file is named after; None if it is named after none."""
    name = PurePosixPath(file.split("?")[0].replace("\\", "/")).name
    stem = name.rsplit(".", 1)[0]
    number = band_id(stem)
    return None if number is None else sensor_band(sensor_of(stem), number, file=file)
