"""The engine of methods: formulas per pixel, and the classical methods."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Literal

import numpy as np

from segmodels.bundles.bundle import Bundle
from segmodels.engines.backend import Batching, Run
from segmodels.errors import EngineError
from segmodels.methods.method import read_method

Precision = Literal["float32", "bfloat16"]


class NumpyBackend:
    """Computes a method in float32, whatever the machine."""

    name = "method"
    batching: Batching = "exact"  # elementwise arithmetic only

    def __init__(self, bundle: Bundle, *, precision: Precision | None = None, callers: int = 1) -> None:
        if precision == "bfloat16":
            raise EngineError(
                f"{bundle.card.name} is a method, which is always computed in float32; "
                "ask for precision auto or float32."
            )
        self._method = read_method(bundle.model_path, bundle.card)
        self.callers = callers
        self.precision = "float32"
        others = [f"{name} {version(name)}" for name in self._method.libraries]
        self.library = ", ".join([f"numpy {np.__version__}", *others])

    def compile(self, shape: tuple[int, ...]) -> Run:
        """Nothing to prepare: a method takes any shape, and what it would fit it fits to the batch."""
        return self._method.logits

    def bare(self, shape: tuple[int, ...]) -> Callable[[], object]:
        """The method alone."""
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        return lambda: self._method.logits(x)
