"""What a run is asked to leave besides its mask; nothing here changes the mask."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Vectors = Literal["geoparquet", "gpkg", "geojson"]
Probabilities = Literal["none", "uint8", "float16"]


class Outputs(BaseModel):
    """Further outputs.

    Attributes:
        vectors: Formats of the regions' polygons.
        simplify: Tolerance of their outlines in pixels; 0 leaves them as they are.
        min_size: Regions of fewer pixels get no polygon.
        probabilities: Type of the probabilities of every class.
        private: Whether only pseudonyms reach logs, names and records; None decides by the format.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    vectors: tuple[Vectors, ...] = ()
    simplify: float = Field(default=0, ge=0)
    min_size: int = Field(default=1, ge=1)
    probabilities: Probabilities = "none"
    private: bool | None = None
