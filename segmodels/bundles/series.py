"""Which series of a patient's study a model was made for, and what its classes are called in DICOM."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Orientation = Literal["axial", "coronal", "sagittal"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SeriesRule(_Strict):
    """What a series must be to be taken; what is not said may be anything.

    Attributes:
        modality: DICOM's word for the machine: ``CT``, ``MR``, ``PT``.
        orientation: The plane its slices lie nearest to.
        minimum_thickness: Of its slices, in mm.
        maximum_thickness: Of its slices, in mm.
        kernel: Regular expression that the convolution kernel must match from its start (``B[123]0``).
        description: Regular expression to be found in the series' description, whatever its case.
        may_miss: Of a channel: whether zeros may stand for it where its series is not there and the user agrees.
    """

    modality: str | None = None
    orientation: Orientation | None = None
    minimum_thickness: float | None = Field(default=None, gt=0)
    maximum_thickness: float | None = Field(default=None, gt=0)
    kernel: str | None = None
    description: str | None = None
    may_miss: bool = False

    @field_validator("kernel", "description")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"{value!r} is no regular expression: {error}") from error
        return value


class Coding(_Strict):
    """A coded concept, for example SNOMED CT's liver: ``SCT``, ``10200004``, ``Liver``.

    Attributes:
        scheme: Designator of the coding scheme.
        value: The code.
        meaning: What people call it.
        category: What kind of thing it is: code of SNOMED CT, its meaning beside it.
        category_meaning: Meaning of ``category``.
    """

    scheme: str = Field(default="SCT", min_length=1, max_length=16)
    value: str = Field(min_length=1, max_length=16)
    meaning: str = Field(min_length=1, max_length=64)
    category: str = Field(default="123037004", min_length=1, max_length=16)
    category_meaning: str = Field(default="Anatomical Structure", min_length=1, max_length=64)
