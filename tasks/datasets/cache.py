"""Open items for a sampler: small ones whole in memory within a budget, large ones by windows."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.datasets.dataset import Dataset
from tasks.datasets.lattice import Opened, open_at
from tasks.datasets.splits import Part
from tasks.imagery.protocol import Pixels, Window

#: Files that stay open at once.
_OPEN = 32


@dataclass(frozen=True)
class _Held:
    pixels: Pixels
    truth: npt.NDArray[np.int16]

    @property
    def nbytes(self) -> int:
        return self.pixels.values.nbytes + self.pixels.valid.nbytes + self.truth.nbytes


class PairCache:
    """Windows of items; may be called from several threads.

    Args:
        dataset: Where the parts belong.
        parts: By number.
        scratch: Folder for inflated volumes.
        limit: Bytes of whole items that may be held; an item larger than an eighth of it is never
            held whole.
        spacing: At which items are read; None takes theirs.
    """

    def __init__(
        self,
        dataset: Dataset,
        parts: Sequence[Part],
        *,
        scratch: Path,
        limit: int,
        spacing: Sequence[float] | None = None,
    ) -> None:
        self._dataset, self._parts, self._scratch, self._limit = dataset, parts, scratch, limit
        self._spacing = spacing
        self._lock = threading.Lock()
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._open: OrderedDict[str, Opened] = OrderedDict()
        self._retired: list[Opened] = []
        self._bytes = 0

    @property
    def held_bytes(self) -> int:
        """Bytes of whole items in memory."""
        return self._bytes

    def read(self, number: int, window: Window) -> tuple[Pixels, npt.NDArray[np.int16]]:
        """Pixels and truth of a window inside part ``number``'s item, in pixels of the spacing."""
        item = self._parts[number].item
        key = f"{item.id}\0{item.images[0]}"
        with self._lock:
            held = self._held.get(key)
            if held is not None:
                self._held.move_to_end(key)
        if held is None:
            pair = self._pair(key, number)
            size = math.prod(pair.shape) * (pair.channels * pair.dtype.itemsize + 3)
            if size > self._limit // 8:
                return pair.read(window)
            held = _Held(*pair.read(tuple(slice(0, n) for n in pair.shape)))
            self._keep(key, held)
        return Pixels(held.pixels.values[window], held.pixels.valid[window]), held.truth[window]

    def close(self) -> None:
        """Gives files and memory back."""
        with self._lock:
            pairs = [*self._open.values(), *self._retired]
            self._open.clear()
            self._retired.clear()
            self._held.clear()
            self._bytes = 0
        for pair in pairs:
            pair.close()

    def _pair(self, key: str, number: int) -> Opened:
        with self._lock:
            pair = self._open.get(key)
            if pair is None:
                item = self._parts[number].item
                pair = open_at(self._dataset, item, spacing=self._spacing, scratch=self._scratch)
                self._open[key] = pair
            self._open.move_to_end(key)
            if len(self._open) > _OPEN:
                # another thread may be reading it: it is closed one generation later
                self._retired.append(self._open.popitem(last=False)[1])
            if len(self._retired) > _OPEN:
                self._retired.pop(0).close()
            return pair

    def _keep(self, key: str, held: _Held) -> None:
        with self._lock:
            if key in self._held:
                return
            self._held[key] = held
            self._bytes += held.nbytes
            while self._bytes > self._limit:
                self._bytes -= self._held.popitem(last=False)[1].nbytes
            done = self._open.pop(key, None)
            if done is not None:
                self._retired.append(done)
