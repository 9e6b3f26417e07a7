"""Exponential moving average of a network's weights: what a short training should keep.

The last steps of stochastic descent jump around a minimum; their average lies nearer to it
(Polyak and Juditsky 1992). Running statistics of batch norm are averaged with the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Weights = list[npt.NDArray[Any]]


class Average:
    """``average ← d · average + (1 - d) · weights`` with a decay that grows with the number of steps.

    Args:
        decay: The decay of a step in the long run; the first steps use less, so that what the network
            began with is soon forgotten.
        weights: To begin with; copied.
    """

    def __init__(self, decay: float, weights: Sequence[npt.NDArray[Any]]) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"the decay of an average of weights lies in 0 … 1, not at {decay}")
        self.decay = decay
        self.weights: Weights = [np.array(w) for w in weights]

    def update(self, weights: Sequence[npt.NDArray[Any]], *, step: int, steps: int = 1) -> None:
        """Takes in the weights after ``step`` steps, ``steps`` after those before."""
        decay = min(self.decay, (1 + step) / (10 + step)) ** steps
        for average, new in zip(self.weights, weights, strict=True):
            if np.issubdtype(average.dtype, np.floating):
                average *= average.dtype.type(decay)
                average += average.dtype.type(1 - decay) * new
            else:
                average[...] = new
