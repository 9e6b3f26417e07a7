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
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from segmodels.bundles.card import Card
from segmodels.bundles.postprocess import PostStep
from tasks.codes import codes_of
from tasks.postprocess.components import Components
from tasks.postprocess.decide import fillings, holes, removals, removed
from tasks.postprocess.flat import FlatMask
from tasks.regions.labeller import PixelSizes


@dataclass(frozen=True)
class Change:
    """What one step of a card changed.

    Attributes:
        step: The step.
        components: Components that it removed, or holes that it filled.
        pixels: Pixels that changed.
    """

    step: PostStep
    components: int
    pixels: int

    def as_json(self) -> dict[str, Any]:
        """JSON-able: the step as the card has it, and what it changed."""
        return {**self.step.model_dump(), "components": self.components, "pixels": self.pixels}


@dataclass
class Changes:
    """What post-processing changed.

    Attributes:
        removed_components: Components that became the first class.
        removed_pixels: Pixels of these.
        filled_holes: Holes that were filled.
        filled_pixels: Pixels that changed in them.
        steps: Each step's share of these, in the order of their doing.
    """

    removed_components: int = 0
    removed_pixels: int = 0
    filled_holes: int = 0
    filled_pixels: int = 0
    steps: list[Change] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """JSON-able."""
        totals = ("removed_components", "removed_pixels", "filled_holes", "filled_pixels")
        return {**{t: getattr(self, t) for t in totals}, "steps": [change.as_json() for change in self.steps]}


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
    gone = np.zeros(table.code.size, bool)
    for step, of_step in removed(table, steps):
        changes.steps.append(Change(step, int(of_step.sum()), int(table.pixels[of_step].sum())))
        gone |= of_step
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
    paints, filled, pixels = {}, dict.fromkeys(found, 0), dict.fromkeys(found, 0)
    for code, components in found.items():
        table = components.table()
        chosen = holes(table, steps[code])
        filled[code] = int(chosen.sum())
        paints[code] = np.where(chosen, table.pixels, -1)[table.label]
        components.rewind()
    changes.filled_holes = sum(filled.values())
    for first, codes in _read(flat) if changes.filled_holes else ():
        target = codes.copy()
        least = np.full(codes.shape, np.iinfo(np.int64).max)
        for code, components in found.items():
            size = np.zeros(codes.shape, np.int64)
            components.feed((codes != code).view(np.uint8), paint=paints[code], target=size)
            inner = (size > 0) & (size < least) & (codes == card.classes[0].code)
            target[inner] = code
            least[inner] = size[inner]
        for code in found:
            pixels[code] += int(((target == code) & (codes != code)).sum())
        flat.write(first, target)
    changes.filled_pixels = sum(pixels.values())
    changes.steps += [Change(step, filled[code], pixels[code]) for code, step in steps.items()]


def _read(flat: FlatMask) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    for first, count in flat.pieces():
        yield first, flat.read(first, count)
