"""Statistics of a whole image in memory, as normalisation wants them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Histogram:
    """Distinct values of one channel, ascending, and how often each occurs.

    Satisfies :class:`segmodels.normalise.ChannelStatistics`.
    """

    values: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, channel: npt.NDArray[Any]) -> Histogram:
        """Counts an array's values."""
        values, counts = np.unique(channel, return_counts=True)
        return cls(values.astype(np.float64), counts.astype(np.int64))

    def mapped(self, values: npt.NDArray[np.float64]) -> Histogram:
        """The histogram after a rising change of values."""
        return Histogram(values, self.counts)

    def mean_std(self, *, above: float | None = None) -> tuple[float, float]:
        """Mean and population standard deviation of values ``> above``; (0, 0) of nothing."""
        values, counts = self._kept(above)
        if not counts.sum():
            return 0.0, 0.0
        mean = float(np.average(values, weights=counts))
        return mean, float(np.sqrt(np.average((values - mean) ** 2, weights=counts)))

    def percentile(self, q: float, *, above: float | None = None) -> float:
        """The smallest value that at least ``q`` percent of values ``> above`` do not exceed."""
        values, counts = self._kept(above)
        if not counts.sum():
            return 0.0
        reached = np.cumsum(counts) >= q / 100 * counts.sum()
        return float(values[int(np.argmax(reached))])

    def _kept(self, above: float | None) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        keep = self.values > above if above is not None else np.ones(len(self.values), bool)
        return self.values[keep], self.counts[keep]
