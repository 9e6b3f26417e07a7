"""Windows that cover an image once, in an order that depends on its shape alone."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tasks.imagery.protocol import Window

#: Bytes of one window.
LIMIT = 32 << 20
#: Rows of a window are a multiple of this where they can be: storage blocks are then decoded once.
_ROWS = 256


def bands_of(shape: tuple[int, ...], channels: int, itemsize: int, *, limit: int = LIMIT) -> Iterator[Window]:
    """Whole rows (or slices of a volume) of at most about ``limit`` bytes, first to last.

    The same shape gives the same windows whatever the file's storage, so that pixels read by
    them can be digested as a stream.
    """
    line = max(1, math.prod(shape[1:]) * channels * itemsize)
    rows = max(1, limit // line)
    if rows >= shape[0]:
        rows = shape[0]
    elif rows > _ROWS:
        rows -= rows % _ROWS
    rest = tuple(slice(0, n) for n in shape[1:])
    for start in range(0, shape[0], rows):
        yield (slice(start, min(start + rows, shape[0])), *rest)
