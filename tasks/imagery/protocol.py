"""The one protocol behind which every image format lives.

Arrays have the slowest spatial axis first and channels last. A NIfTI volume is seen in
its closest canonical (RAS+) orientation with axes ``(z, y, x)`` = superior, anterior,
right, so a model never meets a flipped patient; writers undo that exactly. A 4-D series
has a leading ``t`` axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from tasks.imagery.bands import Band
from tasks.imagery.source import Source

Window = tuple[slice, ...]
"""One slice per axis, in bounds, step 1."""


@dataclass(frozen=True)
class GdalFile:
    """What GDAL opens to show the channels of a raster smaller.

    Attributes:
        name: GDAL's name of it.
        driver: The one driver that may open it.
        bands: Its bands that are the channels.
        scales: Factor and offset per channel; empty where stored values are the image's.
        options: GDAL's configuration while it is read.
    """

    name: str
    driver: str
    bands: tuple[int, ...]
    scales: tuple[tuple[float, float], ...] = ()
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ImageInfo:
    """What is known of an image without reading its pixels.

    Attributes:
        source: What was opened.
        format: Its name in :data:`tasks.imagery.formats.FORMATS`.
        kind: Which description ``grid`` holds.
        field: ``earth`` (areas in m²) or ``medical`` (volumes in mm³).
        shape: Sizes of ``axes``, slowest first.
        axes: Of ``t z y x``; ``("y", "x")`` for rasters.
        channels: Names of the channels.
        dtype: numpy dtype name of the values that ``read`` gives.
        wraps: Per axis, whether its two ends are neighbours (a global grid's columns).
        chunk: The storage's own blocks per axis; reading whole chunks decodes them once.
        nodata: The value that marks missing pixels, if the format declares one.
        grid: JSON-able description of the grid: of a raster ``crs`` (WKT or None),
            ``transform`` (six numbers, GDAL's affine order a b c d e f); of a volume
            ``affine`` (4×4, of the file's own axes to RAS+), ``native_shape``, ``orientation``
            (axis codes of the file), ``spacing`` (mm per ``axes`` entry; 0 for ``t``),
            ``unit_mm`` (of the affine) and ``voxel_mm3``.
        notes: Sentences a user should see (no CRS, qform and sform disagree …).
        suspicions: Reasons why a result may be wrong; any makes the run *suspect*.
        bands: Of a raster, what is known of each channel's band; empty where nothing is.
        gdal: Of a raster, what GDAL opens to show the same channels smaller; None if it cannot.
        inflated: Bytes that its plain form takes in the scratch folder; 0 if it is read as it lies.
    """

    source: Source
    format: str
    kind: Literal["raster", "volume"]
    field: Literal["earth", "medical"]
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    channels: tuple[str, ...]
    dtype: str
    wraps: tuple[bool, ...]
    chunk: tuple[int, ...]
    nodata: float | None
    grid: dict[str, Any]
    notes: tuple[str, ...] = ()
    suspicions: tuple[str, ...] = ()
    gdal: GdalFile | None = None
    bands: tuple[Band, ...] = ()
    inflated: int = 0


@dataclass(frozen=True)
class Pixels:
    """A window's pixels.

    Attributes:
        values: ``(*window, channels)`` in the image's dtype.
        valid: ``(*window)``; false where any channel is nodata, masked or not finite.
        unobserved: ``(*window)``; where a validity mask says cloud, shadow or the like; never valid
            there. None: nowhere.
    """

    values: npt.NDArray[Any]
    valid: npt.NDArray[np.bool_]
    unobserved: npt.NDArray[np.bool_] | None = None


class Image(Protocol):
    """An open image. ``read`` may be called from several threads."""

    @property
    def info(self) -> ImageInfo:
        """What is known without reading pixels."""
        ...

    def read(self, window: Window) -> Pixels:
        """Reads a window that lies inside the image.

        Raises:
            tasks.errors.InputError: The storage is truncated or corrupt there.
        """
        ...

    def close(self) -> None:
        """Gives files back; reading afterwards is an error."""
        ...


class MaskWriter(Protocol):
    """Writes a mask on the image's grid; ``finish`` makes the final file."""

    def write(self, window: Window, codes: npt.NDArray[Any]) -> None:
        """Writes a window (uint8 or uint16); windows come as bands in raster order."""
        ...

    def finish(self) -> None:
        """Completes ``mask.tif`` or ``mask.nii.gz`` and fsyncs it."""
        ...

    def abort(self) -> None:
        """Removes whatever was written."""
        ...
