"""The seam audit: how much neighbouring tiles disagree where they overlap, over a whole run.

Tiles see different surroundings of the pixels they share. A model that needs more of them
than the overlap gives says different things there; blending hides it in the mask, not here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segmodels.bundles.card import SeamLimits
from tasks.blocks.audit import facing_pairs, read_tallies, strip_name
from tasks.blocks.blockfile import BlockFile, block_path
from tasks.planning.plan import Plan
from tasks.tiling.grid import Index, TileGrid
from tasks.tiling.seams import SCALE, Lattice, PairCount, Tally, following, lattice_of, span_size, tally

#: With fewer pixels compared, chance alone could pass a limit.
ENOUGH_PIXELS = 200


@dataclass(frozen=True)
class Disagreement:
    """How much tiles disagree, over a set of pairs.

    Attributes:
        pairs: Pairs of neighbouring tiles that predicted a sampled pixel in common.
        pixels: Sampled pixels compared, once per pair.
        other_class: Of these, pixels to which the two tiles give another class.
        mean_difference: Mean of ``½ Σ|p - p'|`` over the classes, 0 to 1; 0 if there is no pixel.
    """

    pairs: int
    pixels: int
    other_class: int
    mean_difference: float

    @property
    def other_share(self) -> float:
        """Share of the pixels with another class, 0 to 1; 0 if there is no pixel."""
        return self.other_class / self.pixels if self.pixels else 0.0


@dataclass(frozen=True)
class WorstPair:
    """The two tiles with most pixels of another class.

    Attributes:
        tiles: Their indices in the grid.
        low: First pixel of what they share.
        high: Its end.
        found: How much they disagree.
    """

    tiles: tuple[Index, Index]
    low: Index
    high: Index
    found: Disagreement


@dataclass(frozen=True)
class AxisSeams:
    """The pairs of neighbours along one axis.

    Attributes:
        axis: Its name, ``t``, ``z``, ``y`` or ``x``.
        found: How much they disagree.
        worst: The worst pair, None where there is no pair.
    """

    axis: str
    found: Disagreement
    worst: WorstPair | None


@dataclass(frozen=True)
class SeamAudit:
    """The seams of a run.

    Attributes:
        found: Over all pairs.
        axes: The same along each axis on which tiles overlap.
    """

    found: Disagreement
    axes: tuple[AxisSeams, ...]

    def as_json(self, limits: SeamLimits) -> dict[str, Any]:
        """JSON-able, with the limits that were applied."""
        return {
            **_shares(self.found),
            "limits": limits.model_dump(),
            "axes": [{"axis": a.axis, **_shares(a.found), "worst": _worst_json(a.worst)} for a in self.axes],
        }


def _shares(found: Disagreement) -> dict[str, Any]:
    some = found.pixels > 0
    return {
        "pairs": found.pairs,
        "pixels": found.pixels,
        "other_class": found.other_share if some else None,
        "difference": found.mean_difference if some else None,
    }


def _worst_json(worst: WorstPair | None) -> dict[str, Any] | None:
    if worst is None:
        return None
    return {
        "tiles": [list(t) for t in worst.tiles],
        "low": list(worst.low),
        "high": list(worst.high),
        **_shares(worst.found),
    }


def join_seams(plan: Plan, directory: Path, *, axes: tuple[str, ...]) -> SeamAudit:
    """Adds up what the blocks counted, and compares tiles across blocks.

    A block without a file has no pairs. The sums are of integers: they depend on the grid of
    tiles and on the predictions, not on blocks or their order.

    Args:
        plan: The run's plan.
        directory: Folder of block files.
        axes: Names of the image's axes, slowest first.
    """
    grid = plan.grid
    lattice = lattice_of(grid)
    totals = {axis: Tally() for axis in lattice.axes}
    for number in range(grid.block_count):
        path = block_path(directory, number)
        if not path.exists():
            continue
        file = BlockFile(path)
        for axis, own in zip(lattice.axes, read_tallies(file, len(lattice.axes)), strict=True):
            totals[axis] += own
            for across in _across(grid, lattice, directory, file, grid.block_index(number), axis):
                totals[axis] += across
    return SeamAudit(
        _disagreement(sum(totals.values(), Tally())),
        tuple(
            AxisSeams(axes[axis], _disagreement(t), _worst(grid, axis, t.worst)) for axis, t in totals.items()
        ),
    )


def _across(
    grid: TileGrid, lattice: Lattice, directory: Path, file: BlockFile, index: Index, axis: int
) -> Iterator[Tally]:
    """Pairs of a block's last tiles along an axis with the first of the next block."""
    strips = file.attached(strip_name(axis, "high"))
    if strips is None:
        return
    path = block_path(directory, grid.block_number(following(index, axis)))
    others = BlockFile(path).attached(strip_name(axis, "low")) if path.exists() else None
    if others is None:
        return
    at = 0
    for first, _ in facing_pairs(grid, index, axis, "high"):
        end = at + span_size(lattice.pair_span(first, axis))
        yield tally(first, strips[:, at:end], others[:, at:end])
        at = end


def _disagreement(t: Tally | PairCount) -> Disagreement:
    pairs = t.pairs if isinstance(t, Tally) else 1
    mean = t.difference / (2 * SCALE * t.pixels) if t.pixels else 0.0
    return Disagreement(pairs, t.pixels, t.other_class, mean)


def _worst(grid: TileGrid, axis: int, pair: PairCount | None) -> WorstPair | None:
    if pair is None:
        return None
    tiles = (pair.tile, following(pair.tile, axis))
    spans = [
        tuple(a.inside(k) for k in pair_of_axis)
        for a, pair_of_axis in zip(grid.axes, zip(*tiles, strict=True), strict=True)
    ]
    return WorstPair(
        tiles,
        tuple(max(p for p, _ in s) for s in spans),
        tuple(min(q for _, q in s) for s in spans),
        _disagreement(pair),
    )


def seam_suspicions(audit: SeamAudit, limits: SeamLimits) -> tuple[str, ...]:
    """A sentence if neighbouring tiles disagree more than the card allows."""
    found = audit.found
    if found.pixels < ENOUGH_PIXELS:
        return ()
    over = []
    if found.other_share > limits.other_class:
        over.append(
            f"{100 * found.other_share:.1f} % of the pixels where two tiles overlap get another class from each "
            f"(limit {100 * limits.other_class:g} %)"
        )
    if found.mean_difference > limits.difference:
        over.append(
            f"the probabilities of overlapping tiles differ by {found.mean_difference:.2f} on average "
            f"(limit {limits.difference:g})"
        )
    if not over:
        return ()
    return (f"{' and '.join(over)}: give more --overlap or a larger --tile, so that tiles see enough",)
