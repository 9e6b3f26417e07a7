"""What can be wrong with a data set, and what was counted while looking."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from tasks.errors import InputError

Kind = Literal[
    "duplicate id",
    "missing truth",
    "truth without image",
    "unreadable",
    "channel count",
    "shape mismatch",
    "grid mismatch",
    "0/255 coding",
    "label out of range",
    "empty mask",
    "all masks empty",
    "nothing known",
    "nothing valid",
    "duplicate content",
    "class never seen",
    "split",
]


class Problem(BaseModel):
    """One thing that is wrong.

    Attributes:
        severity: An ``error`` keeps training from starting.
        kind: Which check found it.
        item: Id of the item, if it is about one.
        file: The file at fault, if there is one.
        cause: One sentence with what to do.
    """

    model_config = ConfigDict(frozen=True)

    severity: Literal["error", "warning"]
    kind: Kind
    item: str | None = None
    file: str | None = None
    cause: str


class SplitCounts(BaseModel):
    """What a split holds.

    Attributes:
        items: How many.
        pixels: Per class name, pixels (voxels) of its truth.
        ignored: Pixels of which nothing is known, or that are nodata.
    """

    model_config = ConfigDict(frozen=True)

    items: int
    pixels: dict[str, int]
    ignored: int


class Verification(BaseModel):
    """Result of :func:`tasks.datasets.verify.verify_dataset`.

    Attributes:
        root: The data set's folder.
        layout: Its layout.
        items: How many there are.
        problems: Errors first.
        splits: Counts per split; ``none`` holds what no split names.
    """

    model_config = ConfigDict(frozen=True)

    root: str
    layout: str
    items: int
    problems: tuple[Problem, ...]
    splits: dict[str, SplitCounts]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Problems that keep training from starting."""
        return tuple(p for p in self.problems if p.severity == "error")

    @property
    def refused(self) -> bool:
        """Whether training must not start."""
        return bool(self.errors)

    def require(self) -> None:
        """Raises if training must not start.

        Raises:
            InputError: Names the first error and how many more there are.
        """
        errors = self.errors
        if errors:
            more = (
                f" (and {len(errors) - 1} more: segflow data verify {self.root})" if len(errors) > 1 else ""
            )
            raise InputError(f"{errors[0].kind}: {errors[0].cause}{more}")
