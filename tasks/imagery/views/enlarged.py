"""A band of larger pixels on the finer grid of its neighbours: every pixel is cut into whole parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tasks.imagery.protocol import Image, ImageInfo, Pixels, Window

#: Values that are computed at once, in double precision.
_PIECE = 1 << 18

How = Literal["nearest", "bilinear"]


class EnlargedImage:
    """Sees each pixel as ``factors`` pixels; closing it closes the image.

    Positions come from global indices, so a pixel's bits do not depend on the window it is read with.
    Bilinear values are means of the valid ones of four neighbours, whole numbers rounded to whole
    numbers; a pixel is valid where the one it is a part of is.

    Args:
        image: A raster.
        factors: Parts of a pixel along rows and columns.
        shape: Of the finer grid, which the image covers.
        how: Which value a part gets.
    """

    def __init__(self, image: Image, factors: tuple[int, int], shape: tuple[int, int], how: How) -> None:
        self._image, self._factors, self._how = image, factors, how
        a, b, c, d, e, f = image.info.grid["transform"]
        ky, kx = factors
        self._info = replace(
            image.info,
            shape=shape,
            chunk=tuple(min(n, s * k) for n, s, k in zip(shape, image.info.chunk, factors, strict=True)),
            grid={**image.info.grid, "transform": (a / kx, b / ky, c, d / kx, e / ky, f)},
            gdal=None,
        )

    @property
    def info(self) -> ImageInfo:
        """On the finer grid."""
        return self._info

    def read(self, window: Window) -> Pixels:
        """See ``Image``."""
        needed = self._needed(window)
        pixels = self._image.read(needed)
        rows, columns = (np.arange(s.start, s.stop) // k for s, k in zip(window, self._factors, strict=True))
        at = np.ix_(rows - needed[0].start, columns - needed[1].start)
        valid = pixels.valid[at]
        hidden = None if pixels.unobserved is None else pixels.unobserved[at]
        if self._how == "nearest":
            return Pixels(pixels.values[at], valid, hidden)
        values = np.empty((*valid.shape, pixels.values.shape[-1]), pixels.values.dtype)
        for start in range(0, len(values), step := max(1, _PIECE // max(1, values[0].size))):
            stop = min(start + step, len(values))
            part = (slice(window[0].start + start, window[0].start + stop), window[1])
            own = self._needed(part)
            cut = slice(own[0].start - needed[0].start, own[0].stop - needed[0].start)
            around = Pixels(pixels.values[cut], pixels.valid[cut])
            values[start:stop] = self._bilinear(around, part, own, valid[start:stop])
        return Pixels(values, valid, hidden)

    def _needed(self, window: Window) -> Window:
        """Pixels of the image that a window is made of, with their neighbours where these count."""
        rim = int(self._how == "bilinear")
        return tuple(
            slice(max(0, s.start // k - rim), min((s.stop - 1) // k + 1 + rim, n))
            for s, k, n in zip(window, self._factors, self._image.info.shape, strict=True)
        )

    def close(self) -> None:
        """See ``Image``."""
        self._image.close()

    def _bilinear(
        self, pixels: Pixels, window: Window, needed: Window, valid: npt.NDArray[np.bool_]
    ) -> npt.NDArray[Any]:
        known = pixels.valid[..., None].astype(np.float64)
        # What is not valid may hold anything, also NaN.
        total = np.where(pixels.valid[..., None], pixels.values, 0).astype(np.float64)
        for axis, (cut, k, have) in enumerate(zip(window, self._factors, needed, strict=True)):
            below, above, share = _neighbours(cut, k, self._image.info.shape[axis])
            share = share.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
            total, known = (
                np.take(v, below - have.start, axis) * (1 - share)
                + np.take(v, above - have.start, axis) * share
                for v in (total, known)
            )
        means = np.where(valid[..., None], total / np.where(known > 0, known, 1), 0)
        dtype = pixels.values.dtype
        return (np.rint(means) if dtype.kind in "ui" else means).astype(dtype)


def _neighbours(
    cut: slice, factor: int, size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Of fine pixels: the coarse pixels on both sides of their centres, and the second one's share."""
    # Twice the distance of the centre from the first coarse centre, in fine pixels.
    twice = 2 * np.arange(cut.start, cut.stop, dtype=np.int64) + 1 - factor
    below = np.floor_divide(twice, 2 * factor)
    share = (twice - below * 2 * factor) / (2 * factor)
    return np.clip(below, 0, size - 1), np.clip(below + 1, 0, size - 1), share
