"""Training tiles from the items of a data set, each tile decided by the seed and its number alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segmodels.normalise import Normaliser
from tasks.datasets.dataset import IGNORE, Dataset, DatasetItem, Pair
from tasks.datasets.pair import open_pair
from tasks.datasets.splits import Part
from tasks.imagery.protocol import Window
from tasks.training.items import group_of

#: Bytes of whole small items that are kept, and of one that counts as small.
CACHE, SMALL = 1 << 29, 1 << 24
#: Places tried to find a pixel of a wanted class.
_TRIES = 8
_Whole = tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]


class Tiles:
    """Draws normalised tiles (a :class:`segmodels.training.prefetch.Source`).

    An image smaller than the tile is mirrored at its far ends; what is not of the image is ignored. A 2-D
    tile of a volume is a slice across its first axis. Pixels without data enter as 0, as in prediction.

    Args:
        dataset: Of the items.
        parts: Items, or boxes of one, to draw from; no tile leaves its box.
        normalisers: Per item's id, frozen with that item's statistics.
        patch: Size of a tile per axis of the model.
        seed: Of every choice.
        codes: Class codes in the order of the logits, which are the labels that come out.
        balance_by: A detail of items whose values are drawn from by ``shares``, evenly by default.
        shares: By value; what is not named gets none.
        focus: By class code, the share of tiles that are to hold it.
        scratch: Folder for inflated volumes.
    """

    def __init__(
        self,
        dataset: Dataset,
        parts: Sequence[Part],
        *,
        normalisers: Mapping[str, Normaliser],
        patch: Sequence[int],
        seed: int,
        codes: Sequence[int],
        balance_by: str | None = None,
        shares: Mapping[str, float] | None = None,
        focus: Mapping[int, float] | None = None,
        scratch: Path,
    ) -> None:
        self._dataset, self._normalisers, self._scratch = dataset, normalisers, scratch
        self._patch, self._seed, self._number = tuple(patch), seed, 0
        groups: dict[str, list[Part]] = {}
        for part in parts:
            groups.setdefault(group_of(part.item, balance_by), []).append(part)
        weights = {g: float(shares.get(g, 0.0)) if shares else 1.0 for g in groups}
        total = sum(weights.values())
        if total <= 0:
            raise ValueError(f"data.shares gives nothing to any of {', '.join(sorted(groups))}")
        self._groups = [(weights[g] / total, groups[g]) for g in sorted(groups)]
        self._focus = list((focus or {}).items())
        self._codes = np.asarray(sorted(codes), np.int16)
        self._kept: OrderedDict[str, _Whole] = OrderedDict()
        self._bytes = 0

    def skip(self, n: int) -> None:
        """Goes on as if ``n`` tiles had been drawn."""
        self._number += n

    def draw(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]:
        """The next tile: ``(*patch, channels)`` normalised, ``(*patch)`` positions among the codes or IGNORE."""
        rng = np.random.default_rng([self._seed, 2, self._number])
        self._number += 1
        u, at = rng.random(), 0.0
        parts = self._groups[-1][1]
        for share, some in self._groups:
            at += share
            if u < at:
                parts = some
                break
        part = parts[int(rng.integers(len(parts)))]
        with _Reader(self, part.item) as reader:
            box = part.box or tuple(slice(0, n) for n in reader.shape)
            window = self._place(reader, box, rng)
            image, labels = reader.read(window)
        image, labels = self._padded(image, labels)
        place = np.searchsorted(self._codes, labels)
        known = self._codes[np.minimum(place, len(self._codes) - 1)] == labels
        return image, np.where(known, place, IGNORE).astype(np.int16)

    def _place(self, reader: _Reader, box: Window, rng: np.random.Generator) -> Window:
        u = rng.random()
        wanted = None
        for code, share in self._focus:
            if u < share:
                wanted = code
                break
            u -= share
        window = self._random(box, rng)
        for _ in range(_TRIES if wanted is not None else 0):
            if (reader.labels(window) == wanted).any():
                break
            window = self._random(box, rng)
        return window

    def _random(self, box: Window, rng: np.random.Generator) -> Window:
        sizes = (1,) * (len(box) - len(self._patch)) + self._patch
        room = [max(b.stop - b.start - t, 0) for b, t in zip(box, sizes, strict=True)]
        starts = [b.start + int(rng.integers(r + 1)) for b, r in zip(box, room, strict=True)]
        return tuple(slice(a, min(a + t, b.stop)) for a, t, b in zip(starts, sizes, box, strict=True))

    def _padded(
        self, image: npt.NDArray[np.float32], labels: npt.NDArray[np.int16]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]:
        if labels.ndim > len(self._patch):
            image, labels = image[0], labels[0]
        missing = [(0, t - n) for t, n in zip(self._patch, labels.shape, strict=True)]
        if any(after for _, after in missing):
            image = np.pad(image, [*missing, (0, 0)], mode="symmetric")
            labels = np.pad(labels, missing, constant_values=IGNORE)
        return image, labels

    def _whole(self, item: DatasetItem, pair: Pair) -> _Whole | None:
        """All of a small item, read once."""
        channels = max(1, len(self._dataset.channels))
        if int(np.prod(pair.shape)) * (4 * channels + 2) > SMALL:
            return None
        everything = tuple(slice(0, n) for n in pair.shape)
        whole = _normalised(pair, everything, self._normalisers[item.id])
        self._kept[item.id] = whole
        self._bytes += sum(a.nbytes for a in whole)
        while self._bytes > CACHE:
            self._bytes -= sum(a.nbytes for a in self._kept.popitem(last=False)[1])
        return whole


class _Reader:
    """An item open for one tile: from memory if it is small, else from its files."""

    def __init__(self, tiles: Tiles, item: DatasetItem) -> None:
        self._normalise = tiles._normalisers[item.id]
        self._pair: Pair | None = None
        self._whole = tiles._kept.get(item.id)
        if self._whole is None:
            self._pair = open_pair(tiles._dataset, item, scratch=tiles._scratch)
            self._whole = tiles._whole(item, self._pair)
        self.shape: tuple[int, ...] = (
            self._whole[1].shape if self._whole is not None else tuple(self._pair.shape)  # type: ignore[union-attr]
        )

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._pair is not None:
            self._pair.close()

    def labels(self, window: Window) -> npt.NDArray[np.int16]:
        if self._whole is not None:
            return self._whole[1][window]
        assert self._pair is not None
        return self._pair.truth(window)

    def read(self, window: Window) -> _Whole:
        if self._whole is not None:
            return self._whole[0][window], self._whole[1][window]
        assert self._pair is not None
        return _normalised(self._pair, window, self._normalise)


def _normalised(pair: Pair, window: Window, normalise: Normaliser) -> _Whole:
    return normalise(pair.image(window), pair.valid(window)), pair.truth(window)
