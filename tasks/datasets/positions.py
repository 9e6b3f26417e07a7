"""Where each class lies: a bounded, random sample of positions from one streaming pass."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.datasets.dataset import Dataset
from tasks.datasets.lattice import Opened, bytes_per_value, open_at, window_of
from tasks.datasets.splits import Part
from tasks.datasets.windows import bands_of
from tasks.imagery.protocol import Window

#: Positions kept per class: 20,000 of them take 0.5 MB.
PER_CLASS = 20_000


@dataclass(frozen=True)
class ClassPositions:
    """What the pass leaves.

    Attributes:
        places: Per class code ``(n, 1 + ndim)`` int32: number of the part, then the position in its
            item. A uniform sample of all the class's pixels, or all of them if they are few.
        counts: Per class code, pixels in all parts.
        boxes: Each part's window, in the same pixels.
    """

    places: dict[int, npt.NDArray[np.int32]]
    counts: dict[int, int]
    boxes: tuple[Window, ...]


class _Reservoir:
    """Keeps the positions with the smallest random keys: a uniform sample, whatever the order."""

    def __init__(self, size: int, ndim: int) -> None:
        self._size, self.count = size, 0
        self._keys = np.zeros(0)
        self._places = np.zeros((0, 1 + ndim), np.int32)

    def add(self, part: int, flat: npt.NDArray[np.intp], window: Window, rng: np.random.Generator) -> None:
        self.count += flat.size
        keys = rng.random(flat.size)
        if self._keys.size == self._size:
            near = np.flatnonzero(keys < self._keys[-1])
            keys, flat = keys[near], flat[near]
        if flat.size > self._size:
            near = np.argpartition(keys, self._size)[: self._size]
            keys, flat = keys[near], flat[near]
        where = np.unravel_index(flat, [s.stop - s.start for s in window])
        places = np.empty((flat.size, 1 + len(window)), np.int32)
        places[:, 0] = part
        for axis, (index, cut) in enumerate(zip(where, window, strict=True), 1):
            places[:, axis] = index + cut.start
        keys = np.concatenate([self._keys, keys])
        order = np.argsort(keys, kind="stable")[: self._size]
        self._keys, self._places = keys[order], np.concatenate([self._places, places])[order]

    @property
    def places(self) -> npt.NDArray[np.int32]:
        return self._places


def find_positions(
    dataset: Dataset,
    parts: Sequence[Part],
    *,
    scratch: Path,
    spacing: Sequence[float] | None = None,
    seed: int = 0,
    per_class: int = PER_CLASS,
) -> ClassPositions:
    """Reads the truth of all parts once.

    The same parts and seed give the same positions. Nodata of the image is left out.

    Args:
        dataset: Where the parts belong.
        parts: Items or boxes of items.
        scratch: Folder for inflated volumes.
        spacing: All items are looked at with this spacing, so that pixels count alike; None takes theirs.
        seed: Of the sample.
        per_class: Most positions kept of a class.

    Raises:
        InputError: A file cannot be read, or holds a value that no class lists.
    """
    codes = [card.code for card in dataset.classes]
    kept = {code: _Reservoir(per_class, dataset.ndim) for code in codes}
    boxes = []
    for number, part in enumerate(parts):
        pair = open_at(dataset, part.item, spacing=spacing, scratch=scratch)
        try:
            boxes.append(window_of(pair, part.box))
            _look(pair, number, boxes[-1], kept, seed)
        finally:
            pair.close()
    return ClassPositions(
        places={code: r.places for code, r in kept.items()},
        counts={code: r.count for code, r in kept.items()},
        boxes=tuple(boxes),
    )


def _look(pair: Opened, number: int, box: Window, kept: dict[int, _Reservoir], seed: int) -> None:
    inner = tuple(s.stop - s.start for s in box)
    name = zlib.crc32(pair.item.id.encode())
    for window in bands_of(inner, pair.channels, bytes_per_value(pair)):
        moved = tuple(slice(w.start + b.start, w.stop + b.start) for w, b in zip(window, box, strict=True))
        truth = pair.truth(moved).reshape(-1)
        rng = np.random.default_rng([seed, name, number, moved[0].start])
        order = np.argsort(truth, kind="stable")
        found, starts = np.unique(truth[order], return_index=True)
        ends = [*starts[1:].tolist(), truth.size]
        for code, start, end in zip(found.tolist(), starts.tolist(), ends, strict=True):
            if code in kept:
                kept[code].add(number, order[start:end], moved, rng)
