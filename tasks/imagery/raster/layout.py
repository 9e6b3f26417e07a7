"""Which bands of a raster are channels, which say what is valid, and how they become values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.enums import ColorInterp, MaskFlags

from tasks.errors import InputError
from tasks.imagery.protocol import Pixels
from tasks.imagery.raster.picking import picked
from tasks.imagery.wanted import Wanted

#: Pixels that are scaled at once.
_PIECE = 1 << 18

Scale = tuple[float, float]
"""Factor and offset of a band."""


@dataclass(frozen=True)
class Layout:
    """Which bands are channels, which say what is valid.

    Attributes:
        channels: Bands that the model sees.
        alphas: Bands that mark valid pixels.
        shared_mask: Whether one mask serves all bands.
        masked: Channels with a mask or a nodata value.
        nodata_is_a_value: Whether the nodata value may occur as a measurement.
        dtype: numpy dtype name of the values that are given.
        scales: Per channel, what turns stored values into physical ones; empty where they are one.
    """

    channels: tuple[int, ...]
    alphas: tuple[int, ...]
    shared_mask: bool
    masked: tuple[int, ...]
    nodata_is_a_value: bool
    dtype: str
    scales: tuple[Scale, ...]


def layout_of(dataset: Any, title: str, wanted: Wanted, notes: list[str]) -> Layout:
    """The layout of an open dataset.

    Args:
        title: Of the image, for sentences.
        wanted: Whose number of channels decides about an alpha band, whose units about scale and offset.
        notes: Receives sentences a user should see.

    Raises:
        InputError: It has no band that could be a channel.
    """
    alphas = tuple(i for i, c in enumerate(dataset.colorinterp, 1) if c == ColorInterp.alpha)
    channels = tuple(b for b in range(1, dataset.count + 1) if b not in alphas)
    if alphas and wanted.number == dataset.count:
        notes.append(
            f"Band {alphas[0]} is tagged alpha but read as a channel, as the model takes {wanted.number}."
        )
        alphas, channels = (), tuple(range(1, dataset.count + 1))
    if not channels:
        raise InputError(f"{title} holds nothing but an alpha band; export it with its image bands.")
    channels, alphas = picked(dataset, channels, alphas, wanted, label=title)
    flags = {b: set(dataset.mask_flag_enums[b - 1]) for b in channels}
    # Alpha is handled above; masks that GDAL derives from it must not count twice, or at all.
    masked = tuple(
        b for b in channels if MaskFlags.all_valid not in flags[b] and MaskFlags.alpha not in flags[b]
    )
    shared = bool(masked) and all(MaskFlags.per_dataset in flags[b] for b in masked)
    stored = np.result_type(*(np.dtype(dataset.dtypes[b - 1]) for b in channels))
    scales = _scales(dataset, channels, title, wanted, notes)
    # What single precision holds to the last bit is scaled in it; the rest in double.
    dtype = stored if not scales else np.result_type(stored, np.float32)
    return Layout(channels, alphas, shared, masked, _nodata_is_a_value(dataset, channels), dtype.name, scales)


def _scales(
    dataset: Any, channels: tuple[int, ...], title: str, wanted: Wanted, notes: list[str]
) -> tuple[Scale, ...]:
    found = tuple((float(dataset.scales[b - 1]), float(dataset.offsets[b - 1])) for b in channels)
    scaled = [(b, s) for b, s in zip(channels, found, strict=True) if s != (1.0, 0.0)]
    if not scaled:
        return ()
    for b, (a, o) in scaled:
        if not (math.isfinite(a) and math.isfinite(o) and a):
            raise InputError(
                f"{title} says that values of band {b} are {a:g} × stored {o:+g}: mend that with gdal_edit -scale "
                "-offset."
            )
    if wanted.reading.units == "stored":
        notes.append(
            f"Scale and offset of {_numbered([b for b, _ in scaled])} are not applied: values are used as stored."
        )
        return ()
    alike: dict[str, list[int]] = {}
    for b, (factor, offset) in scaled:
        unit = f" {dataset.units[b - 1]}" if dataset.units[b - 1] else ""
        alike.setdefault(f"{factor:g} × stored {offset:+g}{unit}", []).append(b)
    said = "; ".join(f"{formula} in {_numbered(bands)}" for formula, bands in alike.items())
    notes.append(f"Values are, as the file says, {said}; --stored-units takes them as they are.")
    return found


def _numbered(bands: list[int]) -> str:
    return f"band{'s' * (len(bands) > 1)} {', '.join(map(str, sorted(bands)))}"


def _nodata_is_a_value(dataset: Any, channels: tuple[int, ...]) -> bool:
    """Whether every channel has the same nodata, at an end of an unsigned type's range."""
    values = {dataset.nodatavals[b - 1] for b in channels}
    dtypes = {np.dtype(dataset.dtypes[b - 1]) for b in channels}
    if len(values) > 1 or len(dtypes) > 1:
        return False
    dtype, value = dtypes.pop(), values.pop()
    return dtype.kind == "u" and value in (0, float(np.iinfo(dtype).max))


def read_pixels(dataset: Any, layout: Layout, where: Any) -> Pixels:
    """A window of an open dataset, ``where`` in rasterio's words."""
    shape = (int(where.height), int(where.width))
    dtype = np.dtype(layout.dtype)
    values = np.empty((*shape, len(layout.channels)), dtype)
    # One call for all channels: pixel-interleaved blocks are then decoded once.
    bands = dataset.read(list(layout.channels), window=where)
    valid = np.ones(shape, bool)
    for i, band in enumerate(bands):
        _fill(values[..., i], band, layout.scales[i] if layout.scales else (1.0, 0.0))
        if dtype.kind == "f":
            valid &= np.isfinite(values[..., i])
    del bands
    masked = layout.masked[:1] if layout.shared_mask else layout.masked
    if masked:
        present = [dataset.read_masks(band, window=where) != 0 for band in masked]
        valid &= np.logical_or.reduce(present) if layout.nodata_is_a_value else np.logical_and.reduce(present)
    for alpha in layout.alphas:
        valid &= dataset.read(alpha, window=where) != 0
    return Pixels(values, valid)


def _fill(out: npt.NDArray[Any], stored: npt.NDArray[Any], scale: Scale) -> None:
    """Values of one band, in pieces where they are scaled: doubles of all of it would be a multiple."""
    if scale == (1.0, 0.0):
        out[...] = stored
        return
    rows = max(1, _PIECE // max(1, stored.shape[1]))
    for start in range(0, len(stored), rows):
        out[start : start + rows] = scaled(stored[start : start + rows], scale)


def scaled(stored: npt.NDArray[Any], scale: Scale) -> npt.NDArray[Any]:
    """Physical values in double precision; one rounding follows where they become single."""
    factor, offset = scale
    return stored.astype(np.float64) * factor + offset
