"""An image whose pixels are means of whole boxes of another's: what the coarse stage of two may look at."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.imagery.protocol import Image, ImageInfo, Pixels, Window
from tasks.imagery.views.pieces import pieces
from tasks.imagery.volume.orientation import axis_map, spatial

#: Pixels of the image that are held at once while means are taken.
PIECE = 1 << 18
#: Bytes a pixel and channel of a piece: as it is read, in float64, and the sums.
PIECE_BYTES = 24


class CoarsenedImage:
    """Sees boxes of pixels as one; closing it closes the image.

    A pixel is the mean of the valid pixels of its box, as float32, and valid if any of them is; boxes begin at the
    image's first pixel, and the last ones may be cut. One without any is unobserved if a pixel of its box is. Sums run in float64 in a fixed order over the box, so a pixel's
    bits do not depend on the window it is read with.

    Args:
        image: The whole image.
        factors: Pixels of a box, per axis.
    """

    def __init__(self, image: Image, factors: tuple[int, ...]) -> None:
        self._image = image
        self._factors = factors
        self._info = coarsen_info(image.info, factors)

    @property
    def info(self) -> ImageInfo:
        """Of the means: shape and grid are theirs, the path is the file's."""
        return self._info

    def read(self, window: Window) -> Pixels:
        """See ``Image``; a piece of the image at a time."""
        shape = [s.stop - s.start for s in window]
        values = np.zeros((*shape, len(self._info.channels)), np.float32)
        valid = np.zeros(shape, bool)
        hidden: npt.NDArray[np.bool_] | None = None
        for piece in pieces(window, self._spans, limit=PIECE):
            at = tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(piece, window, strict=True))
            values[at], valid[at], unseen = self._mean(piece)
            if unseen is not None:
                hidden = np.zeros(shape, bool) if hidden is None else hidden
                hidden[at] = unseen
        return Pixels(values, valid, hidden)

    def close(self) -> None:
        """See ``Image``."""
        self._image.close()

    def _spans(self, window: Window) -> list[int]:
        """Pixels of the boxes that a window needs."""
        return [(s.stop - s.start) * f for s, f in zip(window, self._factors, strict=True)]

    def _mean(self, window: Window) -> tuple[Any, Any, Any]:
        shape = [s.stop - s.start for s in window]
        full = self._image.info.shape
        source = tuple(
            slice(s.start * f, min(s.stop * f, n))
            for s, f, n in zip(window, self._factors, full, strict=True)
        )
        pixels = self._image.read(source)
        total = np.zeros((*shape, pixels.values.shape[-1]), np.float64)
        count = np.zeros(shape, np.int64)
        hidden = None if pixels.unobserved is None else np.zeros(shape, bool)
        for offset in itertools.product(*map(range, self._factors)):
            steps = tuple(slice(o, None, f) for o, f in zip(offset, self._factors, strict=True))
            known = pixels.valid[steps]
            at = tuple(slice(0, n) for n in known.shape)
            # What is not valid may hold anything, also NaN.
            total[at] += np.where(known[..., None], pixels.values[steps], 0)
            count[at] += known
            if hidden is not None and pixels.unobserved is not None:
                hidden[at] |= pixels.unobserved[steps]
        valid = count > 0
        means = (total / np.maximum(count, 1)[..., None]).astype(np.float32)
        return means, valid, None if hidden is None else hidden & ~valid


def coarsen_info(info: ImageInfo, factors: tuple[int, ...]) -> ImageInfo:
    """What is known of an image of means; its grid spans the image's to the last bit of the shape."""
    shape = tuple(-(-n // f) for n, f in zip(info.shape, factors, strict=True))
    chunk = tuple(-(-c // f) for c, f in zip(info.chunk, factors, strict=True))
    # Not the factors themselves: where the last box is cut, a grid of whole boxes would reach beyond the image.
    scale = [n / m for n, m in zip(info.shape, shape, strict=True)]
    grid = _raster(info.grid, scale) if info.kind == "raster" else _volume(info, shape, scale)
    return replace(info, shape=shape, chunk=chunk, dtype="float32", grid=grid, nodata=None, gdal=None)


def _raster(grid: dict[str, Any], scale: list[float]) -> dict[str, Any]:
    a, b, c, d, e, f = grid["transform"]
    y, x = scale
    return {**grid, "transform": (a * x, b * y, c, d * x, e * y, f)}


def _volume(info: ImageInfo, shape: tuple[int, ...], scale: list[float]) -> dict[str, Any]:
    affine = np.asarray(info.grid["affine"], float).copy()
    steps, native = np.ones(3), list(spatial(tuple(info.grid["native_shape"])))
    for (axis, _), n, s in zip(axis_map(affine), shape[-3:], scale[-3:], strict=True):
        steps[axis], native[axis] = s, n
    # The first voxel's centre moves, its corner stays.
    affine[:3, 3] += affine[:3, :3] @ ((steps - 1) / 2)
    affine[:3, :3] *= steps
    declared = [int(n) for n in info.grid["native_shape"]]
    spacing = [v * s for v, s in zip(info.grid["spacing"], scale, strict=True)]
    return {
        **info.grid,
        "affine": affine.tolist(),
        "native_shape": native[: len(declared)] + declared[3:],
        "spacing": spacing,
        "voxel_mm3": info.grid["voxel_mm3"] * math.prod(scale),
    }


def coarsened(image: Image, factors: tuple[int, ...] | None) -> Image:
    """The image itself, or its means."""
    return image if factors is None else CoarsenedImage(image, factors)
