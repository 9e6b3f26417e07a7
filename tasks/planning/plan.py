"""The plan: everything a block's task needs to know, frozen before the first block runs."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from segmodels.bundles.card import Card
from segmodels.engines.variants import Variants
from segmodels.methods.base import Fitted
from segmodels.normalise import Normaliser
from tasks.files import atomic_write
from tasks.imagery.source import Source
from tasks.imagery.validity.asked import without_files
from tasks.imagery.wanted import Reading
from tasks.planning.outputs import Probabilities
from tasks.planning.region import Region
from tasks.planning.statistics import ChannelSummary
from tasks.resampling.lattice import Resampling, on_lattice
from tasks.tiling.area import Area
from tasks.tiling.grid import Index, Padding, TileGrid
from tasks.tiling.weights import Blend, Quantisation

#: Raised only when the same inputs would give another mask or other figures.
RESULT_VERSION = 4

Spacing = Literal["card", "native"]


class Parameters(BaseModel):
    """What a user may set and what changes the result (so it is part of its digest).

    Attributes:
        tile: Tile per model axis, or None for the card's.
        overlap: Fraction (< 1) or pixels (≥ 1), or None for the card's.
        engine: Engine asked for.
        precision: Precision asked for.
        window: Box of a preview, as given.
        aoi: Digest of the file that holds a preview's area.
        blend: How overlapping tiles are weighed, or None for the card's way.
        coarsen: Of a coarse stage, pixels of the image per axis whose mean it sees as one.
        cpu_fallback: Whether the CPU may go on when a GPU's memory is not enough for a single
            tile; its last bits may differ.
        variants: Mirrored and turned copies of each tile that are averaged.
        reading: How the image is read.
        spacing: At which the model sees the image: its ``card``'s, or the image's own (``native``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tile: tuple[int, ...] | None = None
    overlap: float | None = None
    engine: str = "auto"
    precision: str = "auto"
    variants: Variants = "none"
    window: str | None = None
    aoi: str | None = None
    blend: Blend | None = None
    cpu_fallback: bool = False
    coarsen: tuple[int, ...] | None = None
    reading: Reading = Reading()
    spacing: Spacing = "native"

    @property
    def preview(self) -> bool:
        """Whether only a part of the image is asked for."""
        return self.window is not None or self.aoi is not None

    def digest(self) -> str:
        """``sha256:…`` of the parameters and of the result version."""
        # What a whole image's run does not know leaves its digest as it is.
        unset = {name for name in ("window", "aoi", "coarsen") if getattr(self, name) is None}
        unset |= {"reading"} if self.reading == Reading() else set()
        # Nor does one on the image's own pixels.
        unset |= {"spacing"} if self.spacing == "native" else set()
        fields = self.model_dump(exclude=unset)
        if self.reading.valid:
            # What the files hold is part of the image's digest.
            fields["reading"]["valid"] = without_files(self.reading.valid)
        text = json.dumps({"result_version": RESULT_VERSION, **fields}, sort_keys=True)
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


class Plan(BaseModel):
    """A run's plan; written as ``plan.json`` in the run's work folder.

    Attributes:
        item: Id of the item.
        image: The input.
        image_digest: ``sha256:…`` of its content.
        bundle: Folder of the bundle.
        bundle_digest: Digest of the bundle.
        card: The bundle's card.
        parameters: As asked for.
        engine: What runs the model, fixed for every block; with its precision and library.
        grid: Tiles and blocks over the image's axes; on a lattice where the run has one.
        resampling: The lattice on which the model sees the image; None for the image's own pixels.
        model_ndim: How many of the last axes the model sees.
        batch: Fixed batch size.
        area: What a preview computes; None for the whole image.
        region: Of two stages, what the coarse one found: the model sees only tiles that touch it, and all else
            counts as the first class. None for other bundles, and where it is not known yet.
        region_tiles: How many tiles these are.
        fitted: What a classical method took from the whole image; None for others.
        statistics: Per channel, over all valid pixels.
        overlap_from: Who decided the overlap: ``option``, ``card``, ``receptive field`` or ``default``.
        workers: Blocks in flight.
        callers: Of these, in one process, where they call one engine.
        stitch_rows: Lines that the stitch and the regions hold at once.
        kept_bytes: Decoded storage that the blocks of a process keep for one another.
        peak_memory_bytes: Bound of the whole process tree.
        model_bytes: Of these, the model's own buffers, on the GPU where it runs there.
        disk_bytes: Bound of what the run writes, work files included.
        result_bytes: Of these, what stays: the mask.
        notes: What a user should know.
        suspicions: Reasons why the result may be wrong; any makes the run *suspect*.
        probabilities: Type of the probabilities that are left beside the mask, which they do not change.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    item: str
    image: Source
    image_digest: str
    bundle: Path
    bundle_digest: str
    card: Card
    parameters: Parameters
    engine: str = ""
    precision: str = ""
    library: str = ""
    grid: TileGrid
    resampling: Resampling | None = None
    model_ndim: int
    padding: Padding
    blend: Blend
    quantisation: Quantisation
    batch: int
    area: Area | None = None
    region: Region | None = None
    region_tiles: int = 0
    normaliser: Normaliser
    fitted: Fitted | None = None
    statistics: tuple[ChannelSummary, ...]
    overlap_from: str = "default"
    workers: int = 2
    callers: int = 1
    stitch_rows: int = 512
    kept_bytes: int = 0
    peak_memory_bytes: int
    model_bytes: int = 0
    disk_bytes: int
    result_bytes: int = 0
    notes: tuple[str, ...] = ()
    suspicions: tuple[str, ...] = ()
    probabilities: Probabilities = "none"

    @property
    def keeps_shares(self) -> bool:
        """Whether blocks leave probabilities beside the classes of the image's own pixels."""
        return self.probabilities != "none" and self.resampling is None

    @property
    def tile(self) -> Index:
        """Tile over the model's axes."""
        return self.grid.tile[len(self.grid.axes) - self.model_ndim :]

    @property
    def bounds(self) -> tuple[Index, Index]:
        """First pixel and end of what the results show: the image, or a preview's window."""
        if self.area is None:
            return (0,) * len(self.shape), self.shape
        return self.area.low, self.area.high

    @property
    def shape(self) -> Index:
        """Pixels of the image per axis."""
        return self.grid.shape if self.resampling is None else self.resampling.shape

    @property
    def tiled_area(self) -> Area | None:
        """What a preview computes, as the tiles of its grid see it."""
        return on_lattice(self.area, self.resampling)

    @property
    def tiled_roi(self) -> Area | None:
        """The region of interest, as the tiles of the grid see it."""
        return on_lattice(self.roi, self.resampling)

    @property
    def roi(self) -> Area | None:
        """The region of interest, None for all of the image."""
        return None if self.region is None else self.region.area

    @property
    def unread(self) -> Area | None:
        """A region of interest outside which nothing need be read, since every pixel of the image is valid."""
        whole = all(s.valid == math.prod(self.grid.shape) for s in self.statistics)
        return self.tiled_roi if whole else None

    def key(self) -> str:
        """Names the work folder: block files are reused only under the same key."""
        fields: dict[str, Any] = self.model_dump(
            mode="json",
            include={"image_digest", "bundle_digest", "engine", "precision", "library", "grid", "batch"},
        )
        fields |= {"parameters": self.parameters.digest()}
        if self.fitted is not None:
            fields |= {"fitted": self.fitted.model_dump(mode="json")}
        if self.area is not None:
            fields |= {"area": self.area.digest}
        if self.resampling is not None:
            fields |= {"resampling": asdict(self.resampling)}
        if self.keeps_shares:
            fields |= {"shares": True}
        if self.region is not None:
            fields |= {"region": self.region.area.digest}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]

    def write(self, path: Path) -> None:
        """Writes the plan as JSON, atomically."""
        with atomic_write(path) as stream:
            stream.write(self.model_dump_json(indent=1).encode())

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Reads a plan written by :meth:`write`."""
        return cls.model_validate_json(path.read_bytes())
