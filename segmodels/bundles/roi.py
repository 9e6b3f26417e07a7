"""What a two-stage bundle's card says of the region of interest."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class RegionOfInterest(BaseModel):
    """Where the fine stage looks: pixels that the coarse stage gives one of some classes, and a margin.

    Attributes:
        classes: Names of the coarse stage's classes that make the region.
        margin: Pixels that are added on every side, one number per size of the card's tile.
        coarsen: Per size of the card's tile, pixels of the image whose mean is one pixel of the coarse stage.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: tuple[str, ...] = Field(min_length=1)
    margin: tuple[Annotated[int, Field(ge=0)], ...]
    coarsen: tuple[Annotated[int, Field(ge=1, le=64)], ...]

    def over(self, sizes: tuple[int, ...], *, axes: int, model_ndim: int, rest: int) -> tuple[int, ...]:
        """``margin`` or ``coarsen`` over all axes of an image.

        Args:
            sizes: One of the two.
            axes: Axes of the image.
            model_ndim: How many of the last the model sees.
            rest: For the others.
        """
        return (rest,) * (axes - model_ndim) + sizes[-model_ndim:]
