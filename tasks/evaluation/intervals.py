"""Confidence intervals over items: the bootstrap with percentiles (Efron 1979).

Items are drawn with replacement as often as there are items; what is computed from each draw spreads
as the figure would over other items of the same kind. Written out rather than taken from a library, as
a class may be missing from a draw: such a draw has no score, and is left out for that class alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
#: Draws per batch, times numbers per table: bounds the memory.
MOST_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn.

    Attributes:
        resamples: Number of draws.
        level: Share of draws inside the interval.
        seed: Of the draws; the same items give the same interval.
    """

    resamples: int = 2000
    level: float = 0.95
    seed: int = 0

    def weights(self, items: int) -> npt.NDArray[np.int64]:
        """How often each draw takes each item: ``(resamples, items)``."""
        rng = np.random.default_rng(self.seed)
        return rng.multinomial(items, np.full(items, 1 / items), size=self.resamples)

    def pooled(
        self, tables: npt.NDArray[np.int64], score: Callable[[npt.NDArray[np.int64]], Floats]
    ) -> tuple[Floats, Floats]:
        """Interval of a score of the items' tables added up.

        Args:
            tables: ``(items, rows, columns)``.
            score: From ``(draws, rows, columns)`` to ``(draws, …)``.

        Returns:
            Low and high end, NaN with fewer than two items.
        """
        items = len(tables)
        if items < 2:
            nothing = np.full(np.shape(score(tables.sum(axis=0)[np.newaxis]))[1:], np.nan)
            return nothing, nothing
        flat = tables.reshape(items, -1)
        weights = self.weights(items)
        step = max(1, MOST_AT_ONCE // flat.shape[1])
        drawn = [
            score((weights[a : a + step] @ flat).reshape(-1, *tables.shape[1:]))
            for a in range(0, self.resamples, step)
        ]
        return self._ends(np.concatenate(drawn))

    def mean(self, values: Floats) -> tuple[float, float]:
        """Interval of the mean of one number per item; items without one (NaN) are left out."""
        known = values[~np.isnan(values)]
        if len(known) < 2:
            return float("nan"), float("nan")
        low, high = self._ends(self.weights(len(known)) @ known / len(known))
        return float(low), float(high)

    def _ends(self, drawn: Floats) -> tuple[Floats, Floats]:
        tail = 50 * (1 - self.level)
        ends = np.full((2, *drawn.shape[1:]), np.nan)
        known = ~np.isnan(drawn).all(axis=0)
        ends[:, known] = np.nanpercentile(drawn[:, known], [tail, 100 - tail], axis=0)
        return ends[0], ends[1]
