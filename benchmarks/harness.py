"""Measuring in turns: what is compared runs alternately, and the medians of the rounds' ratios are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal, TypeVar

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[1]


class UnavailableError(Exception):
    """A row cannot be measured on this machine; the text says why."""


@dataclass(frozen=True)
class Goal:
    """What a figure must reach: a bound, and on which side of it good figures lie."""

    side: Literal["≥", "≤"]
    bound: float

    def met(self, value: float) -> bool:
        """Whether a value is on the good side."""
        return value >= self.bound if self.side == "≥" else value <= self.bound


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        measure: What was measured, for a reader.
        values: One per round; empty if it could not be measured.
        unit: Empty for a ratio, else the unit of the values.
        goal: What the median must reach, if anything was promised.
        details: Sizes, engine, times: what a reader needs to judge it. JSON-able.
        why_not: Why there are no values.
        failed: Whether that is an error, not a property of this machine.
    """

    measure: str
    values: tuple[float, ...] = ()
    unit: str = ""
    goal: Goal | None = None
    details: dict[str, Any] = field(default_factory=dict)
    why_not: str = ""
    failed: bool = False

    @property
    def median(self) -> float | None:
        """The median over the rounds, None without values."""
        return median(self.values) if self.values else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without goal or values."""
        middle = self.median
        return None if self.goal is None or middle is None else self.goal.met(middle)


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        work: Folder of images, bundles, caches and outputs; images and bundles are kept for the next time.
        repeats: Rounds.
        scale: Share of the work (pixels, blocks) that the goals name; 1 is their size.
        note: Told what is being done.
        nuclei: Folder of the images that a training row trains on.
    """

    work: Path
    repeats: int = 3
    scale: float = 1.0
    note: Callable[[str], None] = print
    nuclei: Path | None = None

    def side(self, full: int, *, axes: int = 2, multiple: int = 64, least: int = 64) -> int:
        """A side length scaled so that the number of pixels scales with ``scale``."""
        scaled = full * self.scale ** (1 / axes)
        return max(least, round(scaled / multiple) * multiple) if self.scale != 1 else full


@dataclass(frozen=True)
class Row:
    """A row of the benchmark.

    Attributes:
        name: What ``ROWS`` selects it by.
        about: One sentence.
        measure: Measures and gives one or several lines of the table.
    """

    name: str
    about: str
    measure: Callable[[Settings], Sequence[Figure]]


def interleave(
    contestants: Mapping[str, Callable[[], T]], *, repeats: int, note: Callable[[str], None] | None = None
) -> dict[str, list[T]]:
    """Runs every contestant once per round, in turns; every other round in the opposite order.

    Whatever changes slowly on the machine (heat, other load, caches) then meets all of them alike.

    Returns:
        Per contestant, what it gave in each round.
    """
    results: dict[str, list[T]] = {name: [] for name in contestants}
    for turn in range(repeats):
        names = list(contestants)
        for name in names if turn % 2 == 0 else reversed(names):
            if note:
                note(f"round {turn + 1} of {repeats}: {name}")
            results[name].append(contestants[name]())
    return results


def ratios(above: Sequence[float], below: Sequence[float]) -> tuple[float, ...]:
    """Round by round, ``above / below``."""
    return tuple(a / b for a, b in zip(above, below, strict=True))


def seconds(values: Sequence[float]) -> list[float]:
    """Times for the details, rounded to a millisecond."""
    return [round(v, 3) for v in values]


def run_row(row: Row, settings: Settings) -> list[Figure]:
    """Measures a row; what prevents it becomes a line that says so."""
    try:
        figures = list(row.measure(settings))
    except UnavailableError as reason:
        return [Figure(row.about, why_not=str(reason))]
    except Exception as error:  # the other rows are still wanted; the table shows this one as failed
        return [Figure(row.about, why_not=f"{type(error).__name__}: {error}", failed=True)]
    bad = [f.measure for f in figures if any(not math.isfinite(v) for v in f.values)]
    if bad:
        return [Figure(row.about, why_not=f"not a number: {', '.join(bad)}", failed=True)]
    return figures
