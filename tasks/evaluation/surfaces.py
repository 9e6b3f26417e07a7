"""Surface distances of every class of an item, its surfaces gathered by windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segmodels.metrics.surface import Positions, borders, surface_scores
from tasks.evaluation.counting import common_chunk, in_threads, windows
from tasks.evaluation.sources import Codes
from tasks.imagery.protocol import Window

#: More surface voxels of one class in one mask, or of all together, are not compared.
MOST_VOXELS = 2_000_000
MOST_TOGETHER = 16_000_000


@dataclass(frozen=True)
class ItemSurface:
    """Surface scores of one class of one item; NaN unless the status is *ok*.

    Attributes:
        status: *ok*, or why there are no scores.
        hd95: In the item's unit.
        assd: In the item's unit.
        surface_dice: 0…1.
    """

    status: str
    hd95: float = float("nan")
    assd: float = float("nan")
    surface_dice: float = float("nan")


class _Gathered:
    """Surface voxels per class of one mask, as long as they are few enough."""

    def __init__(self, codes: Sequence[int]) -> None:
        self.parts: dict[int, list[Positions]] = {code: [] for code in codes}
        self.sizes = dict.fromkeys(codes, 0)

    def add(self, positions: Positions, codes: npt.NDArray[np.int32], start: Sequence[int]) -> None:
        for code in np.unique(codes).tolist():
            if code in self.parts:
                own = positions[codes == code] + np.asarray(start, np.int32)
                self.sizes[code] += len(own)
                self.parts[code].append(own)
                if self.sizes[code] > MOST_VOXELS:
                    self.parts[code] = []

    def drop(self, code: int) -> None:
        """Forgets a class for want of room."""
        self.sizes[code] = MOST_VOXELS + 1
        self.parts[code] = []

    @property
    def held(self) -> int:
        return sum(len(p) for parts in self.parts.values() for p in parts)

    def of(self, code: int) -> Positions:
        parts = self.parts[code]
        return np.concatenate(parts) if parts else np.zeros((0, 1), np.int32)


def item_surfaces(
    truth: Codes,
    prediction: Codes,
    *,
    codes: Sequence[int],
    ignore: Sequence[int],
    spacing: Sequence[float],
    tolerance: float,
    threads: int,
) -> dict[int, ItemSurface]:
    """Scores per class.

    A pixel whose truth is ignored belongs to no class in either mask.

    Args:
        truth: What is right.
        prediction: What is scored, on the same grid.
        codes: Classes wanted.
        ignore: Labels of the truth that count for nothing.
        spacing: Size of a pixel per axis.
        tolerance: Of the surface Dice, in the unit of the spacing.
        threads: Windows at once.

    Raises:
        tasks.errors.InputError: A file is damaged.
    """
    shape = truth.shape

    def one(window: Window) -> list[tuple[Positions, npt.NDArray[np.int32]]]:
        around = tuple(
            slice(max(w.start - 1, 0), min(w.stop + 1, n)) for w, n in zip(window, shape, strict=True)
        )
        inner = tuple(slice(w.start - a.start, w.stop - a.start) for w, a in zip(window, around, strict=True))
        t, p = truth.read(around), prediction.read(around)
        unknown = np.isin(t, ignore)
        nothing = np.int32(np.iinfo(np.int32).min)
        found = []
        for mask in (t, p):
            clean = np.where(unknown, nothing, mask.astype(np.int32))
            edge = borders(clean, inner)
            found.append((np.argwhere(edge).astype(np.int32), clean[inner][edge]))
        return found

    sides = (_Gathered(codes), _Gathered(codes))
    wanted = windows(shape, common_chunk(truth, prediction))
    for window, found in zip(wanted, in_threads(one, wanted, threads=threads), strict=True):
        for side, (positions, of) in zip(sides, found, strict=True):
            side.add(positions, of, [w.start for w in window])
        while sum(s.held for s in sides) > MOST_TOGETHER:
            largest = max(codes, key=lambda c: sum(len(p) for s in sides for p in s.parts[c]))
            for side in sides:
                side.drop(largest)
    return {code: _scores(*sides, code, spacing, tolerance=tolerance, threads=threads) for code in codes}


def _scores(
    truth: _Gathered,
    prediction: _Gathered,
    code: int,
    spacing: Sequence[float],
    *,
    tolerance: float,
    threads: int,
) -> ItemSurface:
    if max(truth.sizes[code], prediction.sizes[code]) > MOST_VOXELS:
        return ItemSurface(f"not computed: more than {MOST_VOXELS:,} surface pixels")
    scores = surface_scores(
        truth.of(code), prediction.of(code), spacing, tolerance=tolerance, workers=threads
    )
    return ItemSurface(scores.status, scores.hd95, scores.assd, scores.surface_dice)
