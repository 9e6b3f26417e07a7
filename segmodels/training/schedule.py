"""How long a training lasts, and how fast it learns at each moment."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Pace:
    """A linear rise, then half a cosine down to ``floor``.

    Attributes:
        steps: Batches; or None, and ``minutes`` decide.
        minutes: Time for all steps. How many they are then depends on the machine, and two trainings
            with one seed differ.
        learning_rate: The peak.
        warmup: Steps of the rise.
        floor: The last rate, as a share of the peak.
    """

    steps: int | None = None
    minutes: float | None = None
    learning_rate: float = 2e-3
    warmup: int = 50
    floor: float = 0.0

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("a training lasts either a number of steps or a number of minutes; give one")

    def done(self, step: int, seconds: float) -> float:
        """Share of the training that lies behind after ``step`` steps and ``seconds``; 1 at its end."""
        if self.steps is not None:
            return min(step / self.steps, 1.0)
        return min(seconds / (60 * (self.minutes or 1.0)), 1.0)

    def rate(self, step: int, seconds: float) -> float:
        """Learning rate of the step that follows."""
        rise = min((step + 1) / self.warmup, 1.0) if self.warmup else 1.0
        fall = 0.5 * (1 + math.cos(math.pi * self.done(step, seconds)))
        return self.learning_rate * rise * (self.floor + (1 - self.floor) * fall)
