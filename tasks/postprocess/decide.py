"""What happens to each component: decided from the table alone, so from the whole mask."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from segmodels.bundles.card import Card
from segmodels.bundles.postprocess import FillHoles, LargestComponents, MinimumSize, Unit
from tasks.errors import InputError
from tasks.imagery.protocol import ImageInfo
from tasks.postprocess.components import Table
from tasks.regions.measure import size_units

Removal = LargestComponents | MinimumSize


def check_units(card: Card, info: ImageInfo) -> None:
    """Refuses sizes in units that the image's pixels do not have.

    Raises:
        InputError: Says which step, and what to give instead.
    """
    have = size_units(info)
    for step in card.postprocess:
        unit = "pixels" if isinstance(step, LargestComponents) else step.unit
        if unit not in ("pixels", have):
            raise InputError(
                f"{info.source} has sizes in {have} and the post-processing of model {card.name} gives "
                f"{step.kind} of {step.class_name} in {unit}: give the size in {have} in the bundle's model.json"
            )


def removals(card: Card) -> dict[int, list[Removal]]:
    """Steps that remove components, by code of their class."""
    codes = {c.name: c.code for c in card.classes}
    out: dict[int, list[Removal]] = {}
    for step in card.postprocess:
        if not isinstance(step, FillHoles):
            out.setdefault(codes[step.class_name], []).append(step)
    return out


def fillings(card: Card) -> dict[int, FillHoles]:
    """Steps that fill holes, by code of their class, ascending."""
    codes = {c.name: c.code for c in card.classes}
    found = {codes[s.class_name]: s for s in card.postprocess if isinstance(s, FillHoles)}
    return dict(sorted(found.items()))


def removed(table: Table, steps: dict[int, list[Removal]]) -> list[tuple[Removal, npt.NDArray[np.bool_]]]:
    """Per step ``(n,)``: components too small for their class, then those beyond the largest of what is left.

    No component is removed twice.
    """
    out: list[tuple[Removal, npt.NDArray[np.bool_]]] = []
    for code, asked in steps.items():
        left = table.code == code
        for step in sorted(asked, key=lambda s: isinstance(s, LargestComponents)):
            if isinstance(step, MinimumSize):
                gone = left & (_measured(table, step.unit) < step.size)
            else:
                gone = _beyond(table, left, step.keep)
            out.append((step, gone))
            left = left & ~gone
    return out


def _beyond(table: Table, candidates: npt.NDArray[np.bool_], keep: int) -> npt.NDArray[np.bool_]:
    rows = np.flatnonzero(candidates)
    rows = rows[np.lexsort((table.first[rows], -table.pixels[rows], table.frame[rows]))]
    # Position of each row among those of its frame, which lie together.
    starts = np.searchsorted(table.frame[rows], table.frame[rows])
    out = np.zeros(table.code.size, bool)
    out[rows[np.arange(rows.size) - starts >= keep]] = True
    return out


def holes(table: Table, step: FillHoles) -> npt.NDArray[np.bool_]:
    """``(n,)``: components of what is not the class that it encloses, with no marked pixel inside."""
    enclosed = ~table.border & ~table.marked
    return enclosed if step.size is None else enclosed & (_measured(table, step.unit) <= step.size)


def _measured(table: Table, unit: Unit) -> npt.NDArray[np.int64] | npt.NDArray[np.float64]:
    return table.pixels if unit == "pixels" else table.size
