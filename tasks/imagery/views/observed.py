"""An image whose clouds, shadows and bad pixels a mask of any resolution hides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tasks.errors import InputError
from tasks.imagery.protocol import Image, ImageInfo, Pixels, Window
from tasks.imagery.validity.rules import Rule

#: A mask may end this part of an image's pixel early.
_SHORT = 0.01


@dataclass(frozen=True)
class _Hiding:
    """A mask, and which of its rows and columns each row and column of the image sees."""

    mask: Image
    rule: Rule
    rows: npt.NDArray[np.int32]
    columns: npt.NDArray[np.int32]

    def observed(self, window: Window) -> npt.NDArray[np.bool_]:
        rows, columns = (a[s] for a, s in zip((self.rows, self.columns), window, strict=True))
        top, left = int(rows.min()), int(columns.min())
        needed = (slice(top, int(rows.max()) + 1), slice(left, int(columns.max()) + 1))
        # The mask's own nodata is a value like others: a rule may name it.
        seen = self.rule.observed(self.mask.read(needed).values[..., 0])
        return seen[np.ix_(rows - top, columns - left)]


class ObservedImage:
    """Sees pixels as unobserved where a mask's rule does not hold; closing it closes image and masks.

    A mask is sampled at the centre of each pixel. What has no data stays without.

    Args:
        image: A raster.
        masks: Rasters of one channel in the same coordinate system, each with its rule.

    Raises:
        InputError: A mask lies elsewhere, or cannot be what its rule needs.
    """

    def __init__(self, image: Image, masks: Sequence[tuple[Image, Rule]]) -> None:
        self._image = image
        self._masks = [_placed(image.info, mask, rule) for mask, rule in masks]
        said = " and ".join(f"{m.info.source} says {r.text!r}" for m, r in masks)
        note = f"Pixels count as observed only where {said}."
        self._info = replace(image.info, notes=(*image.info.notes, note))

    @property
    def info(self) -> ImageInfo:
        """Of the image."""
        return self._info

    def read(self, window: Window) -> Pixels:
        """See ``Image``."""
        pixels = self._image.read(window)
        seen = np.logical_and.reduce([m.observed(window) for m in self._masks])
        hidden = pixels.valid & ~seen
        if pixels.unobserved is not None:
            hidden |= pixels.unobserved
        return Pixels(pixels.values, pixels.valid & seen, hidden)

    def close(self) -> None:
        """See ``Image``."""
        self._image.close()
        for hiding in self._masks:
            hiding.mask.close()


def _placed(info: ImageInfo, mask: Image, rule: Rule) -> _Hiding:
    from tasks.imagery.scene.grids import same_crs

    other = mask.info
    label = f"the validity mask {other.source}"
    if other.kind != "raster" or info.kind != "raster":
        raise InputError(f"{label} and {info.source} must both be rasters: --valid is for rasters alone")
    if len(other.channels) != 1:
        raise InputError(
            f"{label} has {len(other.channels)} bands ({', '.join(other.channels)}) and one is needed: cut it out with "
            "gdal_translate -b"
        )
    if rule.needs_integers and np.dtype(other.dtype).kind not in "ui":
        raise InputError(f"{label} holds {other.dtype}, which has no bits: give a rule such as '!=0'")
    if not same_crs(info, other):
        raise InputError(
            f"{label} is in another coordinate system than {info.source}: bring it to that with gdalwarp -t_srs … -r "
            "near first"
        )
    lines = _lines(info, other)
    if lines is None:
        raise InputError(
            f"{label} does not cover {info.source}, or is turned against it: bring it to its grid with gdalwarp -te … "
            "-tr … -r near first"
        )
    return _Hiding(mask, rule, *lines)


def _lines(info: ImageInfo, other: ImageInfo) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]] | None:
    a, b, c, d, e, f = info.grid["transform"]
    ma, mb, mc, md, me, mf = other.grid["transform"]
    height, width = info.shape[-2:]
    if tuple(info.grid["transform"]) == tuple(other.grid["transform"]) and info.shape == other.shape:
        return np.arange(height, dtype=np.int32), np.arange(width, dtype=np.int32)
    if any(v != 0 for v in (b, d, mb, md)):
        return None
    rows = _sampled(f, e, height, mf, me, other.shape[-2])
    columns = _sampled(c, a, width, mc, ma, other.shape[-1])
    return None if rows is None or columns is None else (rows, columns)


def _sampled(
    start: float, step: float, count: int, other_start: float, other_step: float, size: int
) -> npt.NDArray[np.int32] | None:
    """Which pixel of another line each pixel's centre lies in; None if the line ends too early."""
    # Where the line begins in the other's pixels, and how far a pixel goes: near a simple fraction it is that one, so
    # that rounding in headers moves no sample across an edge.
    first, ratio = (start - other_start) / other_step, step / other_step
    first, ratio = _exact(first), _exact(ratio)
    ends = sorted((first, first + ratio * count))
    if ends[0] < -_SHORT * abs(ratio) or ends[1] > size + _SHORT * abs(ratio):
        return None
    at = np.floor(first + (np.arange(count, dtype=np.float64) + 0.5) * ratio)
    return np.asarray(np.clip(at, 0, size - 1), np.int32)


def _exact(value: float) -> float:
    """A number this near to a multiple of a 720th is that."""
    near = round(value * 720) / 720
    return near if math.isclose(value, near, abs_tol=1e-6, rel_tol=1e-9) else value
