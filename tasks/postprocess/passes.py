"""The passes over a flat mask: components removed first, then holes filled.

Order of operations, whatever the order in the card: (1) for every class at once, components
smaller than its minimum size and all but its largest become the first class; (2) of the mask that
this leaves, holes are filled. A hole of a class is a connected part of everything that is not the
class, which touches neither the image's border nor a pixel without class (nodata, failed,
unobserved); what is first class in it becomes the class, other classes inside stay. Where holes of
several classes hold a pixel, the one of fewest pixels wins, of equals the lowest code. Holes are
connected the other way round than regions: over corners only where regions are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segmodels.bundles.card import Card
from tasks.codes import codes_of
from tasks.postprocess.components import Components
from tasks.postprocess.decide import fillings, holes, removals, removed
from tasks.postprocess.flat import FlatMask
from tasks.regions.scanner import PixelSizes


@dataclass
class Changes:
    """What post-processing changed.

    Attributes:
        removed_components: Components that became the first class.
        removed_pixels: Pixels of these.
        filled_holes: Holes that were filled.
        filled_pixels: Pixels that changed in them.
    """

    removed_components: int = 0
    removed_pixels: int = 0
    filled_holes: int = 0
    filled_pixels: int = 0

    def as_json(self) -> dict[str, int]:
        """JSON-able."""
        return asdict(self)


def process(flat: FlatMask, card: Card, *, wraps: bool, sizes: PixelSizes) -> Changes:
    """Applies a card's steps to a mask in place.

    Args:
        flat: The stitched mask.
        card: With the steps, the classes and how their pixels connect.
        wraps: Whether the first and last columns are neighbours.
        sizes: True pixel sizes.
    """
    changes = Changes()
    _remove(flat, card, changes, wraps=wraps, sizes=sizes)
    _fill(flat, card, changes, wraps=wraps, sizes=sizes)
    return changes


def _remove(flat: FlatMask, card: Card, changes: Changes, *, wraps: bool, sizes: PixelSizes) -> None:
    steps = removals(card)
    if not steps:
        return
    full = card.connectivity == "full"
    found = Components(flat.shape, codes=tuple(steps), full=full, wraps=wraps, sizes=sizes)
    for _, codes in _read(flat):
        found.feed(codes)
    table = found.table()
    gone = removed(table, steps)
    changes.removed_components = int(gone.sum())
    changes.removed_pixels = int(table.pixels[gone].sum())
    if not changes.removed_components:
        return
    paint = np.where(gone, card.classes[0].code, -1).astype(np.int64)[table.label]
    found.rewind()
    for first, codes in _read(flat):
        target = codes.copy()
        found.feed(codes, paint=paint, target=target)
        flat.write(first, target)


def _fill(flat: FlatMask, card: Card, changes: Changes, *, wraps: bool, sizes: PixelSizes) -> None:
    steps = fillings(card)
    if not steps:
        return
    special = codes_of(card).unobserved
    full = card.connectivity != "full"
    found = {c: Components(flat.shape, codes=(1,), full=full, wraps=wraps, sizes=sizes) for c in steps}
    for _, codes in _read(flat):
        for code, components in found.items():
            components.feed((codes != code).view(np.uint8), codes >= special)
    paints = {}
    for code, components in found.items():
        table = components.table()
        chosen = holes(table, steps[code])
        changes.filled_holes += int(chosen.sum())
        paints[code] = np.where(chosen, table.pixels, -1)[table.label]
        components.rewind()
    if not changes.filled_holes:
        return
    for first, codes in _read(flat):
        target = codes.copy()
        least = np.full(codes.shape, np.iinfo(np.int64).max)
        for code, components in found.items():
            size = np.zeros(codes.shape, np.int64)
            components.feed((codes != code).view(np.uint8), paint=paints[code], target=size)
            inner = (size > 0) & (size < least) & (codes == card.classes[0].code)
            target[inner] = code
            least[inner] = size[inner]
        changes.filled_pixels += int((target != codes).sum())
        flat.write(first, target)


def _read(flat: FlatMask) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    for first, count in flat.pieces():
        yield first, flat.read(first, count)
