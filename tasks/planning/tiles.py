"""Tile and overlap of a run, in pixels, and where they come from."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from segmodels.bundles.card import Card
from tasks.errors import UsageError
from tasks.planning.plan import Parameters
from tasks.tiling.grid import Index

#: Used where neither the user nor the card says anything.
OVERLAP = 0.25
#: An overlap that comes from the receptive field is at most this part of the tile.
MOST = 0.25

Source = Literal["option", "card", "receptive field", "default"]


@dataclass(frozen=True)
class Tiles:
    """Sizes over the model's axes, slowest first, multiples of the network's stride.

    Attributes:
        tile: Pixels of a tile.
        overlap: Pixels that neighbouring tiles share, which is the halo too.
        source: Who decided the overlap.
        notes: What a user should know of it.
    """

    tile: Index
    overlap: Index
    source: Source
    notes: tuple[str, ...] = ()


def choose_tiles(card: Card, model_ndim: int, parameters: Parameters) -> Tiles:
    """Tile and overlap: what the user asked for, else the card's, else the measured receptive field's.

    Raises:
        UsageError: Sizes that the network cannot take.
    """
    tile = parameters.tile or card.tile[-model_ndim:]
    if len(tile) == 1:
        tile = tile * model_ndim
    if len(tile) != model_ndim:
        raise UsageError(f"--tile needs one size, or {model_ndim} for model {card.name}")
    bad = [t for t in tile if t < 1 or t % card.stride]
    if bad:
        raise UsageError(
            f"--tile {bad[0]} does not fit model {card.name}: give a multiple of its stride {card.stride}"
        )
    if card.fixed_tile and tile != card.tile[-model_ndim:]:
        raise UsageError(
            f"--tile {_by(tile)} does not fit model {card.name}, which takes tiles of "
            f"{_by(card.tile[-model_ndim:])} only: leave --tile out, or export the model with free sizes"
        )
    source: Source = "card" if parameters.overlap is None else "option"
    asked = card.overlap if parameters.overlap is None else parameters.overlap
    small = _smaller(card, tile)
    if asked is None and card.receptive_radius is not None:
        found = _from_radius(tile, card.receptive_radius, card)
        return replace(found, notes=(*found.notes, *small))
    if asked is None:
        asked, source = OVERLAP, "default"
    if not 0 <= asked < math.inf:
        raise UsageError(f"--overlap {asked:g} is not a size: give a fraction below 1, or pixels")
    pixels = [t * asked if asked < 1 else asked for t in tile]
    if any(p >= t for p, t in zip(pixels, tile, strict=True)):
        raise UsageError(f"--overlap {asked:g} is not less than the tile {'×'.join(map(str, tile))}")
    overlap = tuple(
        min(t - card.stride, math.ceil(p / card.stride) * card.stride)
        for p, t in zip(pixels, tile, strict=True)
    )
    return Tiles(tile, overlap, source, small)


def _from_radius(tile: Index, radius: tuple[int, ...], card: Card) -> Tiles:
    """The receptive field's radius per axis, rounded up to the stride, at most a quarter of the tile."""
    wanted = radius[-len(tile) :] if len(radius) >= len(tile) else radius[-1:] * len(tile)
    up = [math.ceil(r / card.stride) * card.stride for r in wanted]
    most = [int(t * MOST) // card.stride * card.stride for t in tile]
    overlap = tuple(min(u, m) for u, m in zip(up, most, strict=True))
    if overlap == tuple(up):
        return Tiles(tile, overlap, "receptive field")
    note = (
        f"model {card.name} looks {_by(wanted)} pixels far, more than a quarter of a tile of {_by(tile)}: tiles "
        f"overlap by {_by(overlap)}, so seams may show; give a larger --tile, or --overlap"
    )
    return Tiles(tile, overlap, "receptive field", (note,))


def _smaller(card: Card, tile: Index) -> tuple[str, ...]:
    """A note for tiles below the card's: where every tile sees too little, seams need not show it."""
    own = card.tile[-len(tile) :]
    alone = card.overlap == 0 if card.receptive_radius is None else not any(card.receptive_radius)
    if alone or all(t >= o for t, o in zip(tile, own, strict=True)):
        return ()
    return (
        f"tiles of {_by(tile)} are smaller than the {_by(own)} that model {card.name} was made for: its scores do "
        f"not hold for them, and tiles that all see too little may agree at their seams",
    )


def blind_tiles(card: Card, tile: Index) -> tuple[str, ...]:
    """A suspicion if no pixel of a tile has what the model looks at around it, though the card's tiles do."""
    if card.receptive_radius is None:
        return ()
    radius, own = card.receptive_radius, card.tile[-len(tile) :]
    radius = radius[-len(tile) :] if len(radius) >= len(tile) else radius[-1:] * len(tile)
    wanted = tuple(2 * r + 1 for r in radius)
    if not any(t < w <= o for t, w, o in zip(tile, wanted, own, strict=True)):
        return ()
    return (
        f"model {card.name} looks at {_by(wanted)} pixels around each and a tile has only {_by(tile)}: no pixel is "
        f"seen whole; give a larger --tile, best {_by(own)}",
    )


def _by(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes))


def tile_sizes(card: Card, model_ndim: int, parameters: Parameters) -> tuple[Index, Index]:
    """Tile and overlap alone, see :func:`choose_tiles`.

    Raises:
        UsageError: Sizes that the network cannot take.
    """
    chosen = choose_tiles(card, model_ndim, parameters)
    return chosen.tile, chosen.overlap
