"""The card of a bundle (``model.json``): everything a run must know about a model.

The card alone decides classes, channels, normalisation, tiling defaults and
padding, so that training and prediction cannot drift apart.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from segmodels.bundles.postprocess import PostStep, check_steps
from segmodels.bundles.roi import RegionOfInterest
from segmodels.bundles.series import Coding, SeriesRule

#: Codes at or above this value are kept for nodata, failed and unobserved pixels.
RESERVED_UINT8 = 253
RESERVED_UINT16 = 65533


BandResampling = Literal["nearest", "bilinear"]
ValidityRule = Literal["scl", "qa_pixel", "fmask"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassCard(_Strict):
    """One class of the mask.

    Attributes:
        name: What people call it.
        code: Its value in the mask.
        colour: ``#rrggbb``, used in the colour table, pictures and legends.
        region: Whether its connected components are measured as regions
            (false for a background that nobody asks about).
        coding: What it is called in DICOM.
    """

    name: str = Field(min_length=1)
    code: int = Field(ge=0, lt=RESERVED_UINT16)
    colour: str = Field(pattern=r"^#[0-9a-fA-F]{6}$")
    region: bool = True
    coding: Coding | None = None


class ChannelCard(_Strict):
    """One input channel, in the order the model wants them.

    Attributes:
        name: Band or modality name.
        units: Physical units of the values, for example ``HU`` or ``1``.
        wavelength_nm: Central wavelength, where the channel has one.
        minimum: Lowest value seen as plausible; below it a run is *suspect*.
        maximum: Highest value seen as plausible.
        series: Of several channels, which DICOM series holds this one.
    """

    name: str
    units: str | None = None
    wavelength_nm: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    series: SeriesRule | None = None


class NormaliseNone(_Strict):
    """Values enter the model as they are."""

    kind: Literal["none"] = "none"


class NormaliseScale(_Strict):
    """``(x - offset) / divisor`` with fixed numbers."""

    kind: Literal["scale"] = "scale"
    offset: float = 0.0
    divisor: float = Field(default=1.0, gt=0)


class NormaliseWindow(_Strict):
    """Clip to ``[low, high]``, then map to 0…1 (a CT window, for example).

    Attributes:
        offset: Subtracted after clipping in place of ``low`` (a data set's mean).
        divisor: What is left is divided by this in place of ``high - low`` (its standard deviation).
    """

    kind: Literal["window"] = "window"
    low: float
    high: float
    offset: float | None = None
    divisor: float | None = Field(default=None, gt=0)


class NormaliseZScore(_Strict):
    """``(x - mean) / std`` of the whole image's valid pixels.

    Attributes:
        foreground_above: Only pixels above this value enter mean and std.
    """

    kind: Literal["zscore"] = "zscore"
    foreground_above: float | None = None


class NormalisePercentile(_Strict):
    """Clip to two percentiles of the whole image's valid pixels, then map to 0…1."""

    kind: Literal["percentile"] = "percentile"
    low: float = Field(default=2.0, ge=0, le=100)
    high: float = Field(default=98.0, ge=0, le=100)
    foreground_above: float | None = None


Normalise = Annotated[
    NormaliseNone | NormaliseScale | NormaliseWindow | NormaliseZScore | NormalisePercentile,
    Field(discriminator="kind"),
]


class Training(_Strict):
    """Where the weights come from; free text and numbers that a reader can check."""

    data: str = ""
    licence: str = ""
    command: str = ""
    notes: str = ""
    details: dict[str, Any] = Field(default_factory=dict)


class SeamLimits(_Strict):
    """How much neighbouring tiles may disagree where they overlap; above it a run is *suspect*.

    The defaults are about five times what the shipped networks show at their own tile and
    overlap. A model whose classes fill little of an image should set lower ones.

    Attributes:
        other_class: Share of the pixels that both tiles predict with another class.
        difference: Mean of ``½ Σ|p - p'|`` over them; with two classes that is ``|Δp|``.
    """

    other_class: float = Field(default=0.03, ge=0, le=1)
    difference: float = Field(default=0.05, ge=0, le=1)


class EmptyRule(_Strict):
    """When a tile is empty, so that it counts as the first class without being run.

    Attributes:
        below: A tile is empty if all its valid values, as they are in the image, are below this.
        channel: The one channel that is looked at, by position; None looks at all.
    """

    below: float
    channel: int | None = Field(default=None, ge=0)


class Derived(_Strict):
    """A model made smaller from another one, and what that cost.

    Attributes:
        parent: Digest of the bundle it was made from.
        how: What was done.
        agreement: Share of pixels of ``pixels`` whose class is the parent's.
        difference: Mean of ``½ Σ|p - p'|`` over them.
        pixels: Of the golden input and of the images given for calibration.
        size: Bytes of the model, as a fraction of the parent's.
        speed: Tiles per second, as a multiple of the parent's on the machine that made it.
        machine: That machine's processor.
    """

    parent: str
    how: str
    agreement: float = Field(ge=0, le=1)
    difference: float = Field(ge=0)
    pixels: int = Field(ge=1)
    size: float = Field(gt=0)
    speed: float | None = None
    machine: str = ""


class Card(_Strict):
    """The whole card.

    Attributes:
        ndims: Numbers of spatial axes the model takes. A 2-D model runs slice by
            slice over a volume; a per-pixel method lists both.
        activation: ``softmax`` over one logit per class, or ``sigmoid`` where a single
            logit separates the second class from the first.
        normalise: One entry for all channels, or one per channel.
        tile: Default tile, one size per model axis, slowest axis first.
        overlap: Default overlap of neighbouring tiles, as a fraction of the tile; None takes the receptive
            radius, or a quarter where that is unknown.
        stride: Total stride of the network; tile sizes and starts are multiples of it.
        receptive_radius: Pixels per model axis, like ``tile``, within which 99 % of the energy of a changed
            pixel's effect stays; measured by :func:`segmodels.receptive.receptive_radius`.
        agreement: Least share of golden pixels whose class an engine must reproduce.
        spacing: Voxel spacing in mm the model was made for, slowest axis first, if it matters.
        series: Which DICOM series the model was made for.
        seams: How much neighbouring tiles may disagree before a run is *suspect*.
        empty: When a tile need not be run; None runs every tile that has a valid pixel.
        fixed_tile: Whether the model takes tiles of exactly ``tile`` and no other size.
        members: Models that an ensemble averages.
        roi: Of two stages, where the fine one looks; None for any other bundle.
        precision: Precision that the model itself was brought to; None leaves it to the engine.
        derived: How a compressed model came from another.
        to_check: What an import guessed and only the model's author knows; a run repeats each sentence until
            it is removed here.
        band_resampling: How bands of larger pixels may come to the grid of the finest; None refuses them.
        validity: Masks of a scene that hide clouds and shadows of it, where the scene has them.
        postprocess: What happens to the finished mask, see :mod:`segmodels.bundles.postprocess`.
    """

    format: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    version: str = "1"
    description: str = ""
    task: Literal["semantic"] = "semantic"
    ndims: tuple[Literal[2, 3], ...] = Field(min_length=1)
    classes: tuple[ClassCard, ...] = Field(min_length=2)
    activation: Literal["softmax", "sigmoid"] = "softmax"
    channels: tuple[ChannelCard, ...] = Field(min_length=1)
    normalise: tuple[Normalise, ...] = Field(default=(NormaliseNone(),), min_length=1)
    tile: tuple[int, ...] = Field(min_length=1)
    overlap: float | None = Field(default=None, ge=0, lt=1)
    stride: int = Field(default=1, ge=1)
    receptive_radius: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    agreement: float = Field(default=0.998, ge=0, le=1)
    padding: Literal["reflect", "edge", "zero"] = "reflect"
    blend: Literal["gaussian", "hann", "constant", "crop"] = "gaussian"
    connectivity: Literal["face", "full"] = "full"
    spacing: tuple[float, ...] | None = None
    series: SeriesRule | None = None
    seams: SeamLimits = SeamLimits()
    empty: EmptyRule | None = None
    fixed_tile: bool = False
    members: int = Field(default=1, ge=1)
    roi: RegionOfInterest | None = None
    precision: Literal["int8"] | None = None
    derived: Derived | None = None
    to_check: tuple[str, ...] = ()
    band_resampling: BandResampling | None = None
    validity: tuple[ValidityRule, ...] = ()
    postprocess: tuple[PostStep, ...] = ()
    licence: str = ""
    training: Training = Training()
    scores: dict[str, float | str] = Field(default_factory=dict)
    digests: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Card:
        codes = [c.code for c in self.classes]
        if codes != sorted(set(codes)):
            raise ValueError("class codes must be distinct and ascending (ties go to the lowest code)")
        if self.activation == "sigmoid" and len(self.classes) != 2:
            raise ValueError("activation 'sigmoid' takes exactly two classes")
        if len(self.normalise) not in (1, len(self.channels)):
            raise ValueError("normalise needs one entry, or one per channel")
        if self.empty is not None and (self.empty.channel or 0) >= len(self.channels):
            raise ValueError("empty names a channel that the card does not have")
        if any(t < 1 or t % self.stride for t in self.tile):
            raise ValueError("tile sizes must be positive multiples of the stride")
        if len(self.tile) not in self.ndims and len(self.tile) != max(self.ndims):
            raise ValueError("tile needs one size per model axis")
        if self.receptive_radius is not None and len(self.receptive_radius) != len(self.tile):
            raise ValueError("receptive_radius needs one radius per size of the tile")
        check_steps(self.postprocess, [c.name for c in self.classes])
        return self

    @property
    def logits(self) -> int:
        """Number of output channels of the model."""
        return 1 if self.activation == "sigmoid" else len(self.classes)

    @property
    def wide(self) -> bool:
        """Whether the mask needs uint16."""
        return self.classes[-1].code >= RESERVED_UINT8
