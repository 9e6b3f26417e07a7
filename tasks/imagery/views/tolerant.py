"""Reading around corrupt storage: the parts that can be read, found by halving."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.errors import InputError
from tasks.imagery.protocol import Image, Pixels, Window


def readable_parts(image: Image, window: Window, errors: list[InputError]) -> Iterator[tuple[Window, Pixels]]:
    """The parts of a window that can be read, in a fixed order; chunks that cannot are left out.

    Args:
        image: The image.
        window: What is wanted of it.
        errors: Receives one error per chunk that cannot be read.
    """
    try:
        pixels = image.read(window)
    except InputError as error:
        halves = _halves(window, image.info.chunk)
        if not halves:
            errors.append(error)
        for half in halves:
            yield from readable_parts(image, half, errors)
    else:
        yield window, pixels


def read_values(image: Image, window: Window) -> npt.NDArray[Any]:
    """Values of a window ``(*window, channels)``, 0 where the storage is corrupt."""
    errors: list[InputError] = []
    parts = list(readable_parts(image, window, errors))
    if len(parts) == 1 and parts[0][0] == window:
        return parts[0][1].values
    shape = [s.stop - s.start for s in window]
    values = np.zeros([*shape, len(image.info.channels)], image.info.dtype)
    for part, pixels in parts:
        at = tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(part, window, strict=True))
        values[at] = pixels.values
    return values


def _halves(window: Window, chunk: tuple[int, ...]) -> list[Window]:
    for d, (s, c) in enumerate(zip(window, chunk, strict=True)):
        first, last = s.start // c, -(-s.stop // c)
        if last - first > 1:
            middle = (first + last) // 2 * c
            parts = (slice(s.start, middle), slice(middle, s.stop))
            return [(*window[:d], p, *window[d + 1 :]) for p in parts]
    return []
