"""What a training leaves, and who is told on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

#: Scores of the held-out items in full, and the page about the training.
HELD_OUT, PAGE = "held_out.json", "report.html"
#: The folder beside the bundle: configuration, curves, logs, checkpoint, scores.
FOLDER = "training"


class Progress(Protocol):
    """Who is told how a training goes."""

    def stage(self, sentence: str) -> None:
        """A step of the training begins."""
        ...

    def step(self, done: float, step: int, loss: float) -> None:
        """A batch is done; ``done`` is the share of all."""
        ...


@dataclass(frozen=True)
class TrainResult:
    """What a training left.

    Attributes:
        bundle: Folder of the bundle.
        folder: Where curves, logs and configuration lie.
        scores: As in the card.
        steps: Done in all.
        minutes: Spent in all.
        resumed_at: Step from which an interrupted training went on.
        already_done: Nothing was computed: the bundle was there.
    """

    bundle: Path
    folder: Path
    scores: Mapping[str, float | str]
    steps: int = 0
    minutes: float = 0.0
    resumed_at: int | None = None
    already_done: bool = False

    def as_json(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "status": "done",
            "bundle": str(self.bundle),
            "training": str(self.folder),
            "report": str(self.folder / PAGE),
            "scores": dict(self.scores),
            "steps": self.steps,
            "minutes": round(self.minutes, 2),
            "resumed_at": self.resumed_at,
            "already_done": self.already_done,
        }
