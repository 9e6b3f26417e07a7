"""Tiles that are empty by the bundle's rule: not run, counted as the first class with full confidence."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from segmodels.bundles.card import EmptyRule
from tasks.blocks.reading import Source
from tasks.planning.plan import Plan
from tasks.tiling.grid import Index

#: A logit so far from the others' that its probability is one in float32.
_CERTAIN = np.float32(1e4)


def is_empty(plan: Plan, source: Source, tile: Index) -> bool:
    """Whether all valid values that a tile sees are below the rule's; decided by the tile alone."""
    rule = plan.card.empty
    if rule is None:
        return False
    positions, usable = [], []
    for axis, k, have in zip(plan.grid.axes, tile, source.coordinates, strict=True):
        wanted, inside = axis.sources(k, plan.padding)
        positions.append(np.searchsorted(have, wanted[inside]))
        usable.append(bool(inside.any()))
    if not all(usable):
        return True
    box = np.ix_(*positions)
    return _all_below(source.pixels.values[box], source.pixels.valid[box], rule)


def _all_below(values: npt.NDArray[Any], valid: npt.NDArray[np.bool_], rule: EmptyRule) -> bool:
    looked_at = values if rule.channel is None else values[..., [rule.channel]]
    return not bool((looked_at[valid] >= rule.below).any())


def background(plan: Plan) -> npt.NDArray[np.float32]:
    """Logits ``(*tile, logits)`` of a tile that is the first class for certain."""
    logits = np.full((*plan.grid.tile, plan.card.logits), -_CERTAIN, np.float32)
    if plan.card.logits > 1:
        logits[..., 0] = _CERTAIN
    return logits
