"""An image on a lattice of another spacing: what a model sees that was made for it."""

from __future__ import annotations

import numpy as np

from tasks.imagery.protocol import Image, ImageInfo, Pixels, Window
from tasks.imagery.views.pieces import pieces
from tasks.resampling.geometry import resample, source_window
from tasks.resampling.grid import sampled_info
from tasks.resampling.lattice import Resampling

#: Pixels, of the image or of the lattice, that are sampled at once.
PIECE = 1 << 20


class ResampledImage:
    """Sees an image on a lattice (satisfies :class:`tasks.imagery.protocol.Image`); closing it closes the image.

    A pixel is linear in the two nearest valid pixels per axis, valid where the nearest is: as training samples.
    Positions come from the image's own indices in float64, so a pixel's bits do not depend on the window it is
    read with.

    Args:
        image: The whole image.
        resampling: How the lattice lies in it.
    """

    def __init__(self, image: Image, resampling: Resampling) -> None:
        self._image, self._resampling = image, resampling
        self._info = sampled_info(image.info, resampling)

    @property
    def info(self) -> ImageInfo:
        """Of the lattice: shape, grid and dtype are its own, the rest is the file's."""
        return self._info

    def read(self, window: Window) -> Pixels:
        """See ``Image``; a piece of the image at a time."""
        parts = list(pieces(window, self._spans, limit=PIECE))
        if len(parts) == 1:
            return self._sampled(window)
        shape = [s.stop - s.start for s in window]
        values = np.empty((*shape, len(self._info.channels)), self._info.dtype)
        valid, unobserved = np.empty(shape, bool), np.zeros(shape, bool)
        for piece in parts:
            at = tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(piece, window, strict=True))
            pixels = self._sampled(piece)
            values[at], valid[at] = pixels.values, pixels.valid
            if pixels.unobserved is not None:
                unobserved[at] = pixels.unobserved
        return Pixels(values, valid, unobserved if unobserved.any() else None)

    def close(self) -> None:
        """See ``Image``."""
        self._image.close()

    def _sampled(self, window: Window) -> Pixels:
        shape, steps = self._resampling.shape, self._resampling.steps
        source = source_window(window, shape, steps)
        dtype = np.dtype(self._info.dtype).type
        return resample(self._image.read(source), window, shape, steps, source, dtype=dtype)

    def _spans(self, window: Window) -> list[int]:
        """Pixels held along each axis, before or after sampling."""
        source = source_window(window, self._resampling.shape, self._resampling.steps)
        return [max(s.stop - s.start, w.stop - w.start) for s, w in zip(source, window, strict=True)]


def resampled(image: Image, resampling: Resampling | None) -> Image:
    """The image itself, or what a model sees of it on a lattice."""
    return image if resampling is None else ResampledImage(image, resampling)


def sampling_bytes(info: ImageInfo) -> int:
    """What sampling holds at once besides what it gives.

    Args:
        info: Of the image.
    """
    channels = len(info.channels)
    own = np.dtype(info.dtype).itemsize
    # Of the values and of their validity: as numbers, and two neighbours with their difference.
    return PIECE * (channels * own + 1 + 5 * 8 * (channels + 1))
