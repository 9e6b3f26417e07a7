"""What a user says of their model on the command line, as the card has it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeVar

from segmodels.bundles.card import (
    Normalise,
    NormaliseNone,
    NormalisePercentile,
    NormaliseScale,
    NormaliseWindow,
    NormaliseZScore,
)
from segmodels.errors import BundleError

#: Mean and standard deviation of ImageNet's red, green and blue, of values scaled to 0…1, as torchvision and
#: timm publish them with their weights.
IMAGENET = ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))

_FORMS = "none, scale:OFFSET,DIVISOR, window:LOW,HIGH, zscore, percentile:LOW,HIGH or imagenet"
T = TypeVar("T")


@dataclass(frozen=True)
class Wishes:
    """What is said, None where nothing is.

    Attributes:
        name: Of the bundle.
        classes: Names, by code.
        channels: Names, in the model's order.
        units: One for all channels, or one each.
        normalise: As in the card.
        licence: Of the weights.
        tile: One size per model axis, or one for all.
        stride: The network's total stride.
    """

    name: str | None = None
    classes: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None
    units: tuple[str, ...] | None = None
    normalise: tuple[Normalise, ...] | None = None
    licence: str | None = None
    tile: tuple[int, ...] | None = None
    stride: int | None = None


def parse_normalise(text: str) -> tuple[Normalise, ...]:
    """``scale:0,255``, or one such for each channel with semicolons between.

    Raises:
        BundleError: Anything else.
    """
    if text.strip() == "imagenet":
        return tuple(NormaliseScale(offset=255 * mean, divisor=255 * std) for mean, std in IMAGENET)
    return tuple(_parse_one(part.strip(), text) for part in text.split(";"))


def _parse_one(part: str, text: str) -> Normalise:
    kind, _, rest = part.partition(":")
    try:
        numbers = [float(n) for n in rest.split(",")] if rest else []
        if kind == "none" and not numbers:
            return NormaliseNone()
        if kind == "zscore" and not numbers:
            return NormaliseZScore()
        if kind == "percentile" and len(numbers) in (0, 2):
            return NormalisePercentile(**dict(zip(("low", "high"), numbers, strict=False)))
        if kind == "scale" and len(numbers) == 2 and numbers[1] > 0:
            return NormaliseScale(offset=numbers[0], divisor=numbers[1])
        if kind == "window" and len(numbers) == 2 and numbers[0] < numbers[1]:
            return NormaliseWindow(low=numbers[0], high=numbers[1])
    except ValueError:
        pass  # said below, with what is known
    raise BundleError(f"--normalise {text}: {part!r} is not one of {_FORMS}; correct it.")


def split_names(text: str | None, option: str) -> tuple[str, ...] | None:
    """``a,b,c`` without spaces around.

    Raises:
        BundleError: A name is empty or comes twice.
    """
    if text is None:
        return None
    names = tuple(part.strip() for part in text.split(","))
    if not all(names):
        raise BundleError(f"{option} {text} has an empty name; give names with commas between.")
    return names


def bundle_name(text: str) -> str:
    """A file's name as a bundle may be called."""
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._") or "model"
