"""What a card asks of the finished mask, per class: global steps, as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Unit = Literal["pixels", "m2", "mm3"]


class _Step(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    class_name: str = Field(min_length=1)


class LargestComponents(_Step):
    """Keeps the components of a class that have most pixels; of equals the first in raster order.

    Attributes:
        class_name: The class.
        keep: How many, of every frame.
    """

    kind: Literal["largest"] = "largest"
    keep: int = Field(default=1, ge=1)


class MinimumSize(_Step):
    """Removes components of a class that are smaller.

    Attributes:
        class_name: The class.
        size: The least size that stays.
        unit: ``pixels``, ``m2`` (true area, rasters with a CRS) or ``mm3`` (volumes).
    """

    kind: Literal["minimum_size"] = "minimum_size"
    size: float = Field(gt=0)
    unit: Unit = "pixels"


class FillHoles(_Step):
    """Gives background that a class encloses to that class.

    Attributes:
        class_name: The class.
        size: Holes up to this size are filled; None fills all.
        unit: Of ``size``.
    """

    kind: Literal["fill_holes"] = "fill_holes"
    size: float | None = Field(default=None, gt=0)
    unit: Unit = "pixels"


PostStep = Annotated[LargestComponents | MinimumSize | FillHoles, Field(discriminator="kind")]


def check_steps(steps: Sequence[LargestComponents | MinimumSize | FillHoles], names: Sequence[str]) -> None:
    """Whether steps fit a card's classes.

    Args:
        steps: Of the card.
        names: Of its classes, the background first.

    Raises:
        ValueError: A class that there is not, the background, or a step given twice.
    """
    seen = set()
    for step in steps:
        if step.class_name not in names:
            raise ValueError(f"postprocess names class {step.class_name!r}; there are {', '.join(names)}")
        if step.class_name == names[0]:
            raise ValueError(
                f"postprocess names {names[0]!r}, the first class, which is what removed pixels become; "
                "name another class"
            )
        if (step.kind, step.class_name) in seen:
            raise ValueError(f"postprocess gives {step.kind} of {step.class_name!r} twice; keep one")
        seen.add((step.kind, step.class_name))
