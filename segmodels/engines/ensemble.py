"""Several models as one: their probabilities averaged inside the tile, in the members' order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from segmodels.engines.backend import Array, Backend, Batching, Run, compile_exactly
from segmodels.engines.variants import TINY, probabilities_of


class EnsembleBackend:
    """Members loaded by one library; they run one after another."""

    #: Each member is compiled such that its place in the batch does not count.
    batching: Batching = "exact"

    def __init__(self, members: Sequence[Backend], *, sigmoid: bool) -> None:
        self._members = members
        self._sigmoid = sigmoid
        first = members[0]
        self.name, self.precision, self.library = first.name, first.precision, first.library
        self.callers = min(member.callers for member in members)

    def compile(self, shape: tuple[int, ...]) -> Run:
        """Prepares every member for ``shape``."""
        return averaged([compile_exactly(member, shape) for member in self._members], sigmoid=self._sigmoid)

    def bare(self, shape: tuple[int, ...]) -> Callable[[], object]:
        """The members' own calls, one after another."""
        calls = [member.bare(shape) for member in self._members]
        return lambda: [call() for call in calls]


def averaged(runs: Sequence[Run], *, sigmoid: bool) -> Run:
    """Logits whose probabilities are the mean of the members': ``log p``, or ``log p - log(1 - p)``.

    The sum runs in float32 in the order given, so that a tile's bits are a function of the tile alone.
    """
    factor = np.float32(1 / len(runs))

    def run(batch: Array) -> Array:
        total = probabilities_of(runs[0](batch), sigmoid=sigmoid)
        for other in runs[1:]:
            total += probabilities_of(other(batch), sigmoid=sigmoid)
        total *= factor
        np.log(np.maximum(total, TINY, out=total), out=total)
        return total[..., 1:] - total[..., :1] if sigmoid else total

    return run
