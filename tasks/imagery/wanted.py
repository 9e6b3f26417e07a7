"""What a model and its user want of an image: which channels, how they are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from segmodels.bundles.card import BandResampling, Card, ChannelCard, ValidityRule
from segmodels.bundles.series import SeriesRule

Units = Literal["card", "stored"]


class Reading(BaseModel):
    """How a user wants an image read; what is not said is decided by the file and the card.

    Attributes:
        bands: Which bands are the model's channels, in its order: names, numbers from 1, or wavelengths as
            ``665nm``.
        valid: Rules that say which pixels were observed, see ``docs/scenes.md``.
        units: ``stored`` takes values as they are in the file, ``card`` turns them into the card's units.
        layer: The one image of a file or folder that holds several: a subdataset, resolution level, series.
        frame: The one frame of a 4-D image, from 0; None takes every frame.
        missing: Whether channels that the card allows to be missing may be filled.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bands: tuple[str, ...] = ()
    valid: tuple[str, ...] = ()
    units: Units = "card"
    layer: str | None = None
    frame: int | None = Field(default=None, ge=0)
    missing: bool = False


@dataclass(frozen=True)
class Wanted:
    """What is wanted of an image.

    Attributes:
        channels: The model's, in its order; empty where no model is known.
        count: How many channels, where no more is known of them.
        reading: What the user says.
        resampling: How bands of larger pixels come to the grid of the finest; None: not at all.
        validity: Rules by name that are applied where a scene has the file that they read.
        series: Which DICOM series the model was made for.
    """

    channels: tuple[ChannelCard, ...] = ()
    count: int | None = None
    reading: Reading = field(default_factory=Reading)
    resampling: BandResampling | None = None
    validity: tuple[ValidityRule, ...] = ()
    series: SeriesRule | None = None

    @property
    def number(self) -> int | None:
        """How many channels are wanted, if that is known."""
        return len(self.channels) or self.count

    @classmethod
    def by(cls, card: Card, reading: Reading | None = None) -> Wanted:
        """What a model wants, read as its user says."""
        return cls(
            channels=card.channels,
            reading=reading or Reading(),
            resampling=card.band_resampling,
            validity=card.validity,
            series=card.series,
        )
