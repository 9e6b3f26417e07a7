"""Stored numbers as the physical values that a model's card asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from segmodels.bundles.card import ChannelCard
from tasks.imagery.bands import Scaling
from tasks.imagery.protocol import Image, ImageInfo, Pixels, Window
from tasks.imagery.wanted import Wanted

#: Values that are scaled at once.
_PIECE = 1 << 18
_REFLECTANCE = ("reflectance", "surface reflectance", "boa reflectance", "toa reflectance")
_KELVIN = ("k", "kelvin")
#: A channel of units "1" with no larger values than this is a reflectance, not a number of eight bits.
_BRIGHTEST = 10.0


class ScaledImage:
    """Sees ``stored * scale + offset``, in float64 rounded once to float32; closing it closes the image.

    Args:
        image: With stored numbers.
        scalings: Per channel; None leaves a channel's numbers.
        notes: Further sentences a user should see.
    """

    def __init__(self, image: Image, scalings: Sequence[Scaling | None], notes: tuple[str, ...]) -> None:
        self._image, self._scalings = image, tuple(scalings)
        info = image.info
        self._info = replace(info, dtype="float32", nodata=None, gdal=None, notes=(*info.notes, *notes))

    @property
    def info(self) -> ImageInfo:
        """In physical units."""
        return self._info

    def read(self, window: Window) -> Pixels:
        """See ``Image``."""
        pixels = self._image.read(window)
        out = np.empty(pixels.values.shape, np.float32)
        rows = max(1, _PIECE // max(1, out[0].size))
        for c, scaling in enumerate(self._scalings):
            for start in range(0, len(out), rows):
                piece = pixels.values[start : start + rows, ..., c]
                if scaling is not None:
                    piece = piece.astype(np.float64) * scaling.scale + scaling.offset
                out[start : start + rows, ..., c] = piece
        return replace(pixels, values=out)

    def close(self) -> None:
        """See ``Image``."""
        self._image.close()


def in_units(image: Image, wanted: Wanted) -> Image:
    """The image in the units that the card's channels say, as far as its product says how.

    Channels of other units than reflectance (``reflectance``, or ``1`` with a maximum of a few at most) and kelvin
    keep their stored numbers; so do all where the user asks for that.
    """
    info = image.info
    if wanted.reading.units == "stored" or not wanted.channels or len(wanted.channels) != len(info.bands):
        return image
    known = [band.scaling for band in info.bands]
    asked = [units_of(c) for c in wanted.channels]
    used = [s if s is not None and s.units == u else None for s, u in zip(known, asked, strict=True)]
    told: dict[str, list[str]] = {}
    for channel, band, scaling, units in zip(wanted.channels, info.bands, used, asked, strict=True):
        if scaling is not None:
            text = f"{scaling.units} by {scaling.why}"
        elif band.scaling is not None and units is None:
            text = f"stored numbers, as the model's card asks for no {band.scaling.units}"
        elif band.scaling is None and units is not None and np.dtype(info.dtype).kind in "ui":
            text = f"stored numbers, as nothing says how they become {units}"
        else:
            continue
        told.setdefault(text, []).append(channel.name)
    said = "; ".join(f"{', '.join(names)}: {text}" for text, names in told.items())
    sentence = (f"Units of {said}.",) if said else ()
    if any(used):
        return ScaledImage(image, used, sentence)
    return _Told(image, sentence) if sentence else image


def units_of(channel: ChannelCard) -> str | None:
    """``reflectance`` or ``K`` where a channel's card asks for it."""
    units = (channel.units or "").casefold().strip()
    if units in _REFLECTANCE or (
        units == "1" and channel.maximum is not None and channel.maximum <= _BRIGHTEST
    ):
        return "reflectance"
    return "K" if units in _KELVIN else None


class _Told:
    """An image with further notes."""

    def __init__(self, image: Image, notes: tuple[str, ...]) -> None:
        self._image = image
        self._info = replace(image.info, notes=(*image.info.notes, *notes))

    @property
    def info(self) -> ImageInfo:
        return self._info

    def read(self, window: Window) -> Pixels:
        return self._image.read(window)

    def close(self) -> None:
        self._image.close()
