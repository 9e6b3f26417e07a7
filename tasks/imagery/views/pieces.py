"""Windows cut in halves until what each needs is bounded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from tasks.imagery.protocol import Window


def pieces(window: Window, spans: Callable[[Window], Sequence[int]], *, limit: int) -> Iterator[Window]:
    """Parts of a window in a fixed order; single pixels are not cut, whatever they need.

    Args:
        window: One slice per axis.
        spans: How much of each axis a window needs to be held.
        limit: The most that the product of a part's spans may be.
    """
    need = spans(window)
    d = max(range(len(need)), key=lambda i: (window[i].stop - window[i].start > 1, need[i]))
    first, end = window[d].start, window[d].stop
    if math.prod(need) <= limit or end - first <= 1:
        yield window
        return
    middle = (first + end) // 2
    for part in (slice(first, middle), slice(middle, end)):
        yield from pieces((*window[:d], part, *window[d + 1 :]), spans, limit=limit)
