"""Decoded storage kept until every block that needs it has read it.

Neighbouring blocks share the halo between them, and storage comes in chunks of its own, so
read alone each block would decode its rim again: three quarters more bytes than the image
holds for blocks of 1536 pixels and chunks of 512, and for a striped file every strip once
per block. Here whole chunks are read once and dropped when the last block has them.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from tasks.errors import InputError
from tasks.imagery.protocol import Image, ImageInfo, Pixels, Window

#: Decoded bytes kept at most, of tiled storage and of strips, which every block of a row needs in full;
#: beyond them the oldest go, and are decoded again if need be.
SHARED_BYTES = (96 << 20, 256 << 20)
#: Chunks are read together up to this many pixels along an axis: a call has its cost, too.
CELL = 256

Cell = tuple[int, ...]


@dataclass(frozen=True)
class Cells:
    """Whole storage chunks, grouped.

    Attributes:
        shape: Of the image.
        size: Of a cell, a multiple of the storage's chunk along every axis.
    """

    shape: tuple[int, ...]
    size: tuple[int, ...]

    def touching(self, window: Window) -> Iterable[Cell]:
        """Cells with a pixel in ``window``."""
        ranges = (range(w.start // s, -(-w.stop // s)) for w, s in zip(window, self.size, strict=True))
        return itertools.product(*ranges)

    def window(self, cell: Cell) -> Window:
        """Where a cell lies."""
        return tuple(
            slice(c * s, min((c + 1) * s, n)) for c, s, n in zip(cell, self.size, self.shape, strict=True)
        )


def shared_bytes(info: ImageInfo) -> int:
    """What is worth keeping at most of an image."""
    return SHARED_BYTES[info.chunk[-1] >= info.shape[-1]]


def cells_of(info: ImageInfo) -> Cells:
    """The cells of an image."""
    size = tuple(c * max(1, CELL // c) for c in info.chunk)
    return Cells(info.shape, tuple(min(s, n) for s, n in zip(size, info.shape, strict=True)))


class SharedImage:
    """An image whose chunks are decoded once for all blocks of a process.

    Args:
        image: Where pixels come from; closed with this.
        windows: What will be read, one entry per reader; a chunk is dropped after its last.
        limit: Bytes kept at most.
    """

    def __init__(self, image: Image, windows: Iterable[Window], *, limit: int) -> None:
        self._image = image
        self._cells = cells_of(image.info)
        self._left = Counter(c for w in windows for c in self._cells.touching(w))
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: dict[Cell, Future[Pixels]] = {}
        itemsize = np.dtype(image.info.dtype).itemsize * len(image.info.channels) + 2
        self._cell_bytes = math.prod(self._cells.size) * itemsize

    @property
    def info(self) -> ImageInfo:
        """See ``Image``."""
        return self._image.info

    def read(self, window: Window) -> Pixels:
        """See ``Image``; fails only if the window's own chunks are damaged."""
        cells = list(self._cells.touching(window))
        if len(cells) * self._cell_bytes > self._limit:
            return self._image.read(window)
        try:
            parts = [(self._cells.window(c), self._cell(c)) for c in cells]
        except InputError:
            # Another chunk of a cell may be the damaged one.
            return self._image.read(window)
        shape = [w.stop - w.start for w in window]
        values = np.empty((*shape, parts[0][1].values.shape[-1]), parts[0][1].values.dtype)
        valid = np.empty(shape, bool)
        hidden = None if all(p.unobserved is None for _, p in parts) else np.zeros(shape, bool)
        for where, pixels in parts:
            low = [max(w.start, c.start) for w, c in zip(window, where, strict=True)]
            high = [min(w.stop, c.stop) for w, c in zip(window, where, strict=True)]
            to = tuple(slice(a - w.start, b - w.start) for a, b, w in zip(low, high, window, strict=True))
            source = tuple(slice(a - c.start, b - c.start) for a, b, c in zip(low, high, where, strict=True))
            values[to], valid[to] = pixels.values[source], pixels.valid[source]
            if hidden is not None and pixels.unobserved is not None:
                hidden[to] = pixels.unobserved[source]
        return Pixels(values, valid, hidden)

    def close(self) -> None:
        """Closes the image and lets go of what is kept."""
        with self._lock:
            self._kept.clear()
        self._image.close()

    def _cell(self, cell: Cell) -> Pixels:
        """One cell, from memory or, by the first who asks, from storage."""
        with self._lock:
            coming = self._kept.get(cell)
            mine = coming is None
            if coming is None:
                coming = self._kept[cell] = Future()
            self._left[cell] -= 1
        try:
            if mine:
                try:
                    coming.set_result(self._image.read(self._cells.window(cell)))
                except BaseException as error:
                    coming.set_exception(error)
            return coming.result()
        finally:
            self._forget(cell, failed=coming.exception() is not None)

    def _forget(self, cell: Cell, *, failed: bool) -> None:
        """Drops a cell that nobody will ask for again, and the oldest beyond the limit."""
        with self._lock:
            if failed or self._left[cell] <= 0:
                self._kept.pop(cell, None)
            while len(self._kept) * self._cell_bytes > self._limit:
                oldest = next((c for c, f in self._kept.items() if f.done()), None)
                if oldest is None:
                    break
                del self._kept[oldest]
