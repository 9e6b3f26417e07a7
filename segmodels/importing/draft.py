"""A card drafted from a model and an image, and what in it only the model's author knows."""

from __future__ import annotations

import colorsys

import numpy as np

from segmodels.bundles.card import (
    Card,
    ChannelCard,
    ClassCard,
    Normalise,
    NormaliseScale,
    NormaliseZScore,
    Training,
)
from segmodels.errors import BundleError
from segmodels.importing.like import Like
from segmodels.importing.onnx_model import Source
from segmodels.importing.wishes import Wishes

#: Tiles of models that take any size.
TILE = {2: 256, 3: 64}
_GOLDEN_ANGLE = 0.381966  # of a full turn: successive hues far from each other


def check_like(source: Source, like: Like, file: str) -> None:
    """Refuses an image that the model cannot be run on.

    Raises:
        BundleError: Other channels or axes.
    """
    check_channels(source.channels, like, file)
    if source.ndim > like.ndim:
        raise BundleError(f"{file} takes volumes, but {like.name} has {like.ndim} axes; give a volume.")


def check_channels(want: int, like: Like, file: str) -> None:
    """Refuses an image of another number of channels.

    Raises:
        BundleError: Says what to give.
    """
    have = len(like.channels)
    if have != want:
        raise BundleError(
            f"{file} takes {want} channel{'s' * (want != 1)}, but {like.name} has {have} ({', '.join(like.channels)}); "
            "give an image with the bands that the model was trained on, in that order."
        )


def draft_card(source: Source, like: Like, wishes: Wishes, *, file: str) -> Card:
    """The card before the model was run; stride 1 unless it is said.

    Raises:
        BundleError: What was said does not fit the model.
    """
    count = max(2, source.logits)
    _check_count(wishes.classes, count, "--classes", "classes", file)
    _check_count(wishes.channels, source.channels, "--channels", "channels", file)
    units = wishes.units * source.channels if wishes.units and len(wishes.units) == 1 else wishes.units
    _check_count(units, source.channels, "--units", "channels", file)
    normalise = wishes.normalise or _normalise(like)
    if len(normalise) not in (1, source.channels):
        raise BundleError(
            f"--normalise says it for {len(normalise)} channels, but {file} takes {source.channels}; give one, or "
            "one per channel."
        )
    stride = wishes.stride or (_halvings(source.fixed) if source.fixed else 1)
    tile = source.fixed or _tile(source, wishes, stride)
    card = Card(
        name=wishes.name or "model",
        description=f"Imported from {file}.",
        ndims=(2,) if source.ndim == 2 else (3,),
        classes=_classes(wishes.classes, count),
        activation="sigmoid" if source.logits == 1 else "softmax",
        channels=_channels(like, wishes.channels, units),
        normalise=normalise,
        tile=tile,
        stride=stride,
        spacing=like.spacing[-source.ndim :] if like.spacing and source.ndim == 3 else None,
        fixed_tile=source.fixed is not None,
        licence=wishes.licence or "",
        training=Training(notes="; ".join(source.facts)),
    )
    return card.model_copy(update={"to_check": _to_check(card, like, wishes)})


def _halvings(tile: tuple[int, ...]) -> int:
    """Of a model that takes one size its stride cannot be measured: tiles start where any usual one allows."""
    return min(32, *(side & -side for side in tile))


def _to_check(card: Card, like: Like, wishes: Wishes) -> tuple[str, ...]:
    """One sentence for each guess, with what says it right."""
    lines = []
    if wishes.classes is None:
        names = ", ".join(c.name for c in card.classes)
        lines.append(f"check the class names ({names}), which were made up: say --classes")
    if wishes.normalise is None:
        lines.append(
            f"check the normalisation ({describe(card.normalise)}), which was guessed: say --normalise"
        )
    if wishes.channels is None and len(card.channels) > 1:
        names = ", ".join(c.name for c in card.channels)
        lines.append(f"check that the model wants its channels in this order ({names}): say --channels")
    if wishes.units is None:
        lines.append("check the units of the channels, which are empty: say --units")
    if card.spacing is not None:
        spacing = " × ".join(f"{s:g}" for s in card.spacing)
        lines.append(
            f"check that the model was trained at {spacing} mm (z, y, x), the spacing of {like.name}"
        )
    if wishes.licence is None:
        lines.append("check the licence of the weights, which is empty: say --licence")
    return tuple(lines)


def describe(normalise: tuple[Normalise, ...]) -> str:
    """As ``--normalise`` takes it, in short."""
    words = []
    for one in normalise:
        values = [f"{v:g}" for k, v in one.model_dump().items() if k != "kind" and v is not None]
        words.append(f"{one.kind}:{','.join(values)}" if values else one.kind)
    return ";".join(words)


def _check_count(names: tuple[str, ...] | None, count: int, option: str, what: str, file: str) -> None:
    if names is not None and len(names) != count:
        raise BundleError(f"{option} names {len(names)}, but {file} has {count} {what}; name each of them.")


def _normalise(like: Like) -> tuple[Normalise, ...]:
    """What is usual: bytes are divided by 255, anything else gets mean 0 and spread 1."""
    return (NormaliseScale(divisor=255),) if like.dtype == "uint8" else (NormaliseZScore(),)


def _tile(source: Source, wishes: Wishes, stride: int) -> tuple[int, ...]:
    wanted = wishes.tile or (TILE[source.ndim],)
    if len(wanted) not in (1, source.ndim):
        raise BundleError(f"--tile needs one size, or {source.ndim}, for this model; correct it.")
    sides = wanted * source.ndim if len(wanted) == 1 else wanted
    free = [side if size is None else size for side, size in zip(sides, source.sizes, strict=True)]
    return tuple(max(stride, side // stride * stride) for side in free)


def _classes(names: tuple[str, ...] | None, count: int) -> tuple[ClassCard, ...]:
    names = names or ("background", *(f"class-{i}" for i in range(1, count)))
    return tuple(
        ClassCard(name=name, code=i, colour=_colour(i), region=i > 0 or name != "background")
        for i, name in enumerate(names)
    )


def _colour(code: int) -> str:
    if code == 0:
        return "#d9d3c3"
    rgb = colorsys.hsv_to_rgb((0.58 + code * _GOLDEN_ANGLE) % 1, 0.75, 0.75)
    return "#" + "".join(f"{round(255 * c):02x}" for c in rgb)


def _channels(
    like: Like, names: tuple[str, ...] | None, units: tuple[str, ...] | None
) -> tuple[ChannelCard, ...]:
    cards = []
    for i, (name, s) in enumerate(zip(names or like.channels, like.statistics, strict=True)):
        if like.dtype == "uint8":
            low, high = 0.0, 255.0
        else:
            # Another image of the kind may reach half as far again.
            spread = float(s.maximum) - float(s.minimum)
            low, high = float(s.minimum) - spread / 2, float(s.maximum) + spread / 2
            if np.dtype(like.dtype).kind == "u":
                low = max(0.0, low)
        cards.append(ChannelCard(name=name, units=units[i] if units else None, minimum=low, maximum=high))
    return tuple(cards)
