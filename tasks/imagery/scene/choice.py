"""Which bands are a model's channels: by what its user says, by name, by wavelength, or by their order."""

from __future__ import annotations

import re
from collections.abc import Sequence

from segmodels.bundles.card import ChannelCard
from tasks.errors import InputError
from tasks.imagery.bands import Band, is_colour, plain, range_of
from tasks.imagery.wanted import Wanted

#: Wavelengths further apart than this share, and than so many nm, are of different bands.
SHARE, LEAST_NM = 0.03, 15.0
#: A band that measures something this far from what a channel wants is another one.
OTHER = 0.1
_WAVELENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(nm|um|µm|μm)", re.IGNORECASE)

Choice = tuple[int, ...]


def choose(bands: Sequence[Band], wanted: Wanted, *, label: str) -> Choice | None:
    """Which bands are the channels, in the model's order.

    What the user says decides. Else bands are matched with the card's channels by name, then by wavelength; if none
    of them can be, they are the channels in their order.

    Args:
        bands: What there is.
        wanted: The model's channels, and what the user says.
        label: The image, for sentences.

    Returns:
        Positions in ``bands``; None to take them as they are.

    Raises:
        InputError: A band is not there, or is not what a channel wants.
    """
    if wanted.reading.bands:
        return _asked(bands, wanted, label)
    if not wanted.channels:
        return None
    return _matched(bands, wanted.channels, label)


def _asked(bands: Sequence[Band], wanted: Wanted, label: str) -> Choice:
    specs = wanted.reading.bands
    if wanted.number is not None and len(specs) != wanted.number:
        names = f" ({', '.join(c.name for c in wanted.channels)})" if wanted.channels else ""
        raise InputError(
            f"--bands names {len(specs)} band{'s' * (len(specs) != 1)} and the model wants {wanted.number}{names}: "
            "name one for each, in this order"
        )
    found = tuple(find_band(bands, s, label=label) for s in specs)
    for at, channel in zip(found, wanted.channels, strict=False):
        if contradicts(bands[at], channel):
            raise InputError(
                f"--bands gives {bands[at]} of {label} as channel {_said(channel)}, which is something else: "
                f"name the band that it is; there are {listed(bands)}"
            )
    return found


def find_band(bands: Sequence[Band], spec: str, *, label: str) -> int:
    """The band that a number from 1, a wavelength or a name means.

    Raises:
        InputError: There is none, or several.
    """
    text = spec.strip()
    if text.isdecimal():
        if not 1 <= int(text) <= len(bands):
            raise InputError(f"{label} has no band {text}: there are {listed(bands)}, numbered from 1")
        return int(text) - 1
    if wave := _WAVELENGTH.fullmatch(text):
        nm = float(wave[1]) * (1 if wave[2].lower() == "nm" else 1000)
        near = _by_wavelength(bands, nm)
        if near is None:
            raise InputError(f"{label} has no band at {text}: there are {listed(bands)}")
        return near
    exact = [i for i, b in enumerate(bands) if b.name.casefold() == text.casefold()]
    named = exact or [i for i, b in enumerate(bands) if plain(text) in b.known_as]
    if not named:
        raise InputError(f"{label} has no band {text!r}: there are {listed(bands)}")
    if len(named) > 1:
        both = " and ".join(str(bands[i]) for i in named)
        raise InputError(f"{text!r} means {both} of {label}: say which, by its name or number")
    return named[0]


def _matched(bands: Sequence[Band], channels: Sequence[ChannelCard], label: str) -> Choice | None:
    found = [_match(bands, c) for c in channels]
    chosen = [i for i in found if i is not None]
    if len(chosen) == len(channels) and len(set(chosen)) == len(chosen):
        return tuple(chosen)
    same = len(bands) == len(channels)
    in_place = all(i is None or i == place for place, i in enumerate(found))
    contradicted = [c for b, c in zip(bands, channels, strict=False) if contradicts(b, c)]
    if same and in_place and not contradicted:
        return None
    says = any(b.identified for b in bands) and all(c.wavelength_nm or is_colour(c.name) for c in channels)
    if not chosen and not contradicted and not (says and not same):
        return None  # nothing is known of either; how many there are is checked with the card
    missing = [_said(c) for c, i in zip(channels, found, strict=True) if i is None]
    twice = "" if missing else " each for itself"
    raise InputError(
        f"{label} has {listed(bands)}, and the model wants {', '.join(missing or [_said(c) for c in channels])}"
        f"{twice}: say with --bands which bands are its channels, or give an image that has them"
    )


def _match(bands: Sequence[Band], channel: ChannelCard) -> int | None:
    named = [i for i, b in enumerate(bands) if plain(channel.name) in b.known_as]
    if len(named) == 1 and not contradicts(bands[named[0]], channel):
        return named[0]
    if channel.wavelength_nm is None:
        return None
    return _by_wavelength(bands, channel.wavelength_nm, among=named or None)


def _by_wavelength(bands: Sequence[Band], nm: float, *, among: list[int] | None = None) -> int | None:
    """The nearest band within the tolerance."""
    apart = [
        (abs(b.wavelength_nm - nm), i)
        for i, b in enumerate(bands)
        if b.wavelength_nm is not None and (among is None or i in among)
    ]
    near = min(apart, default=(float("inf"), 0))
    return near[1] if near[0] <= max(LEAST_NM, SHARE * nm) else None


def contradicts(band: Band, channel: ChannelCard) -> bool:
    """Whether both say what they measure, and it is not the same."""
    if band.wavelength_nm is not None and channel.wavelength_nm is not None:
        return abs(band.wavelength_nm - channel.wavelength_nm) > OTHER * channel.wavelength_nm
    allowed = range_of(channel.name)
    if band.wavelength_nm is not None and allowed is not None:
        return not allowed[0] <= band.wavelength_nm <= allowed[1]
    colours = {n for n in band.known_as if is_colour(n)}
    return bool(colours) and is_colour(channel.name) and plain(channel.name) not in colours


def _said(channel: ChannelCard) -> str:
    wave = "" if channel.wavelength_nm is None else f" ({channel.wavelength_nm:g} nm)"
    return f"{channel.name}{wave}"


def listed(bands: Sequence[Band]) -> str:
    """Bands for a sentence."""
    return ", ".join(str(b) for b in bands)
