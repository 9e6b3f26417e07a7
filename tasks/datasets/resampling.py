"""A tile at another spacing: one lattice for the whole box, linear for images, nearest for truth.

Pixel ``j`` of the lattice has its centre at ``(j + ½) · step - ½`` source pixels from the box's
corner, in float64, whatever tile it is in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tasks.imagery.protocol import Window

Range = tuple[int, int]


def source_window(inner: Sequence[Range], box: Sequence[Range], step: Sequence[float]) -> Window:
    """The source pixels that lattice pixels ``inner`` need, inside the box."""
    window = []
    for (first, last), (low, high), s in zip(inner, box, step, strict=True):
        if s == 1:
            window.append(slice(low + first, low + last))
            continue
        start = int(np.floor((first + 0.5) * s - 0.5))
        stop = int(np.ceil((last - 0.5) * s - 0.5)) + 1
        window.append(slice(low + min(max(start, 0), high - low - 1), low + min(max(stop, 1), high - low)))
    return tuple(window)


def resample_tile(
    image: npt.NDArray[np.float32],
    truth: npt.NDArray[np.int16],
    inner: Sequence[Range],
    box: Sequence[Range],
    step: Sequence[float],
    window: Window,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]:
    """Lattice pixels ``inner`` from a window of the source, axis by axis.

    Args:
        image: ``(*window, channels)``.
        truth: ``(*window)``.
        inner: First and last (exclusive) lattice pixel per axis.
        box: The part's first and last source pixel per axis.
        step: Source pixels per lattice pixel and axis.
        window: Where ``image`` lies in the source.
    """
    for axis, ((first, last), (low, high), s) in enumerate(zip(inner, box, step, strict=True)):
        if s == 1:
            continue
        at = np.clip((np.arange(first, last) + 0.5) * s - 0.5, 0, high - low - 1)
        at += low - window[axis].start
        below = np.floor(at).astype(int)
        above = np.minimum(below + 1, image.shape[axis] - 1)
        shape = [-1 if a == axis else 1 for a in range(image.ndim)]
        share = (at - below).astype(np.float32).reshape(shape)
        low_side, high_side = np.take(image, below, axis), np.take(image, above, axis)
        image = low_side + (high_side - low_side) * share
        truth = np.take(truth, np.floor(at + 0.5).astype(int), axis)
    return image, truth
