"""What is known of a raster's bands besides their pixels: names, wavelength, scale to physical values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

#: Names of one colour that cards and products use, first the one of STAC's eo extension.
_SYNONYMS = (
    ("coastal", "coastal aerosol", "aerosol", "ultra blue"),
    ("blue", "b"),
    ("green", "g"),
    ("red", "r"),
    ("nir", "n", "near infrared", "near-infrared", "nearinfrared", "nir1"),
    ("swir16", "swir1", "swir 1", "shortwave infrared 1", "swir-1"),
    ("swir22", "swir2", "swir 2", "shortwave infrared 2", "swir-2"),
    ("pan", "panchromatic"),
    ("lwir11", "tirs1", "thermal infrared 1", "tir1"),
    ("lwir12", "tirs2", "thermal infrared 2", "tir2"),
)
#: Wavelengths in nm that a colour may have: STAC's ranges, a little wider.
_RANGES = {
    "coastal": (390, 460),
    "blue": (440, 535),
    "green": (500, 610),
    "red": (600, 705),
    "nir": (740, 1010),
    "swir16": (1530, 1770),
    "swir22": (2050, 2370),
    "pan": (450, 900),
    "lwir11": (10200, 11600),
    "lwir12": (11400, 12600),
}
_COMMON = {name: names[0] for names in _SYNONYMS for name in names}
_NUMBERED = re.compile(r"(?:(?:sr|st|toa|boa)[ _])?b(?:and)?[ _]?0*(\d+)(a?)")


@dataclass(frozen=True)
class Scaling:
    """How stored numbers become physical values: ``stored * scale + offset``.

    Attributes:
        units: ``reflectance`` or ``K``.
        why: Where the numbers come from, for a sentence.
    """

    scale: float
    offset: float
    units: str
    why: str


@dataclass(frozen=True)
class Band:
    """One band.

    Attributes:
        name: What it is called in lists and tables: ``B04``.
        aliases: Other names by which it may be asked for: ``red``.
        wavelength_nm: Central wavelength, where it is known.
        scaling: How its numbers become physical values, where its product says.
        file: The file that it is in, for the record.
        given: Whether the file gives its name, rather than its place in the file.
    """

    name: str
    aliases: tuple[str, ...] = ()
    wavelength_nm: float | None = None
    scaling: Scaling | None = None
    file: str | None = None
    given: bool = True

    @property
    def known_as(self) -> frozenset[str]:
        """All names that it was given, as :func:`plain` writes them."""
        return frozenset() if not self.given else frozenset(plain(n) for n in (self.name, *self.aliases))

    @property
    def identified(self) -> bool:
        """Whether it is known what it measures, by a colour's name or a wavelength."""
        return self.wavelength_nm is not None or any(n in _COMMON.values() for n in self.known_as)

    def __str__(self) -> str:
        said = [n for n in self.aliases if plain(n) in _COMMON.values()][:1]
        if self.wavelength_nm is not None:
            said.append(f"{self.wavelength_nm:g} nm")
        return f"{self.name} ({', '.join(said)})" if said else self.name


def plain(name: str) -> str:
    """A name as it is compared: letter case, leading zeros, prefixes and synonyms do not count.

    Example:
        >>> plain("SR_B4"), plain("B04"), plain("Near Infrared")
        ('b4', 'b4', 'nir')
    """
    lower = " ".join(name.casefold().replace("_", " ").split())
    if found := _NUMBERED.fullmatch(lower):
        return f"b{found[1]}{found[2]}"
    return _COMMON.get(lower, lower)


def is_colour(name: str) -> bool:
    """Whether a name says what is measured: ``red``, ``NIR``, ``swir16``."""
    return plain(name) in _COMMON.values()


def range_of(name: str) -> tuple[float, float] | None:
    """Wavelengths in nm that a colour's name allows."""
    return _RANGES.get(plain(name))


def raster_bands(
    dataset: Any, channels: tuple[int, ...], names: tuple[str, ...], file: str
) -> tuple[Band, ...]:
    """The bands of an open raster (rasterio's), by GDAL's metadata and, of a single one, the file's name.

    Args:
        dataset: Open.
        channels: Numbers of its bands, from 1.
        names: What they are called, in the same order.
        file: Its path or address.
    """
    from tasks.imagery.scene.sensors import band_of_file

    if len(channels) == 1 and dataset.count == 1 and not dataset.descriptions[0]:
        found = band_of_file(file)
        if found is not None:
            return (found,)
    return tuple(
        Band(
            name=n, wavelength_nm=_wavelength(dataset, b), file=file, given=bool(dataset.descriptions[b - 1])
        )
        for n, b in zip(names, channels, strict=True)
    )


def _wavelength(dataset: Any, band: int) -> float | None:
    """Central wavelength in nm: GDAL's own item (3.10), or ENVI's, whose unit it says beside."""
    imagery = dataset.tags(band, ns="IMAGERY").get("CENTRAL_WAVELENGTH_UM")
    if imagery is not None:
        return _number(imagery, 1000.0)
    tags = {k.casefold(): v for k, v in dataset.tags(band).items()}
    unit = tags.get("wavelength_units", tags.get("wavelength_unit", "")).casefold()
    value = _number(tags.get("wavelength", ""), 1.0)
    if value is None:
        return None
    # Without a unit, no sensor here sees below 100 nm or beyond 100 µm.
    micro = unit.startswith(("micro", "µm", "um")) or (not unit and value < 100)
    return value * 1000 if micro else value


def _number(text: str, factor: float) -> float | None:
    try:
        value = float(text) * factor
    except ValueError:
        return None
    return value if 0 < value < 1e6 else None
