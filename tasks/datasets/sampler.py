"""Random tiles from many items on disk, more of them where it matters; never a large raster in memory.

Tile ``n`` depends on the seed and on ``n`` alone, so a training that was killed goes on with the
tiles that it would have had, and threads may read ahead in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segmodels.normalise import Normaliser
from tasks.datasets.cache import PairCache
from tasks.datasets.dataset import IGNORE, Dataset, DatasetItem
from tasks.datasets.positions import ClassPositions, find_positions
from tasks.datasets.splits import Part
from tasks.errors import InputError

Tile = tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]
#: Bytes of small items held whole.
CACHE_BYTES = 512 << 20


class StreamingSampler:
    """Draws tiles (satisfies ``segmodels.training.loop.Sampler``).

    A part smaller than the tile is placed at random inside it; what lies outside is mirrored, and
    its truth is :data:`~tasks.datasets.dataset.IGNORE`. Where the image is nodata the truth is
    IGNORE and values are 0 (after normalisation, if there is one).

    Args:
        dataset: Where the parts belong.
        parts: Items, or boxes that tiles never leave (:func:`tasks.datasets.splits.make_split`).
        tile: Size per spatial axis, in pixels of ``spacing``.
        scratch: Folder for inflated volumes.
        balance: Share of tiles that hold a random pixel of a class code; the rest is placed
            uniformly, a part in proportion to its pixels. None gives every class but the first
            an equal part of one half. A class that no part holds gives its share back.
        spacing: Resample to this (mm or m per axis): image linearly, truth to the nearest. None reads
            pixels as they are; so is an item that states no spacing, or has this one within 2 %.
        normalise: The item's frozen normalisation; None gives values in the file's units.
        seed: Of everything random.
        cache_bytes: Of small items held whole.
        positions: From an earlier pass over the same parts at the same spacing.

    Raises:
        InputError: A part cannot be read, or there are none.
        ValueError: The tile has another number of axes, or the shares exceed 1.
    """

    def __init__(
        self,
        dataset: Dataset,
        parts: Sequence[Part],
        *,
        tile: Sequence[int],
        scratch: Path,
        balance: Mapping[int, float] | None = None,
        spacing: Sequence[float] | None = None,
        normalise: Callable[[DatasetItem], Normaliser] | None = None,
        seed: int = 0,
        cache_bytes: int = CACHE_BYTES,
        positions: ClassPositions | None = None,
    ) -> None:
        if not parts:
            raise InputError(f"{dataset.root} leaves no item to draw tiles from; check its splits.")
        if len(tile) != dataset.ndim:
            raise ValueError(f"a tile of {dataset.ndim} axes is needed, not {tuple(tile)}")
        self._tile, self._parts, self._seed = tuple(tile), tuple(parts), seed
        self.positions = positions or find_positions(
            dataset, parts, scratch=scratch, spacing=spacing, seed=seed
        )
        # boxes, places and tiles are all in pixels of the spacing
        self._boxes = self.positions.boxes
        volumes = np.array([np.prod([s.stop - s.start for s in box], dtype=float) for box in self._boxes])
        self._share = volumes / volumes.sum()
        self._balance = self._shares(dataset, balance)
        self._cache = PairCache(dataset, parts, scratch=scratch, limit=cache_bytes, spacing=spacing)
        self._normalise = normalise
        self._normalisers: dict[int, Normaliser] = {}
        self.count = 0

    @property
    def state(self) -> dict[str, int]:
        """What a checkpoint needs: the same arguments and ``skip(draws)`` go on from here."""
        return {"seed": self._seed, "draws": self.count}

    def skip(self, n: int) -> None:
        """Goes ``n`` tiles on without reading them."""
        self.count += n

    def draw(self) -> Tile:
        """The next tile: ``(*tile, channels)`` float32 and ``(*tile)`` int16 class codes."""
        tile = self.tile(self.count)
        self.count += 1
        return tile

    def tile(self, number: int) -> Tile:
        """The tile of this number; may be called from several threads."""
        rng = np.random.default_rng([self._seed, number])
        part, centre = self._place(rng)
        corner = []
        for axis, (cut, tile) in enumerate(zip(self._boxes[part], self._tile, strict=True)):
            size = cut.stop - cut.start
            if size <= tile:
                corner.append(cut.start - int(rng.integers(tile - size + 1)))
            elif centre is None:
                corner.append(cut.start + int(rng.integers(size - tile + 1)))
            else:
                at = int(centre[axis]) - int(rng.integers(tile))
                corner.append(min(max(at, cut.start), cut.stop - tile))
        return self._cut(part, corner)

    def close(self) -> None:
        """Gives files and memory back."""
        self._cache.close()

    def _shares(self, dataset: Dataset, balance: Mapping[int, float] | None) -> list[tuple[float, int]]:
        if balance is None:
            others = [card.code for card in dataset.classes[1:]]
            balance = {code: 0.5 / len(others) for code in others}
        if sum(balance.values()) > 1 + 1e-9 or min(balance.values(), default=0) < 0:
            raise ValueError("the shares of balanced tiles must be positive and not exceed 1")
        return [
            (share, code)
            for code, share in sorted(balance.items())
            if share > 0 and len(self.positions.places.get(code, ()))
        ]

    def _place(self, rng: np.random.Generator) -> tuple[int, npt.NDArray[np.int32] | None]:
        u = rng.random()
        for share, code in self._balance:
            if u < share:
                places = self.positions.places[code]
                chosen = places[rng.integers(len(places))]
                return int(chosen[0]), chosen[1:]
            u -= share
        return int(rng.choice(len(self._share), p=self._share)), None

    def _cut(self, part: int, corner: Sequence[int]) -> Tile:
        inner = [
            (max(cut.start, c), min(cut.stop, c + t))
            for c, cut, t in zip(corner, self._boxes[part], self._tile, strict=True)
        ]
        pixels, labels = self._cache.read(part, tuple(slice(a, b) for a, b in inner))
        if self._normalise is None:
            image = np.where(pixels.valid[..., None], pixels.values, 0).astype(np.float32)
        else:
            image = self._normaliser(part)(pixels.values, pixels.valid)
        pad = [(a - c, c + t - b) for (a, b), c, t in zip(inner, corner, self._tile, strict=True)]
        if any(before or after for before, after in pad):
            image = np.pad(image, [*pad, (0, 0)], mode="reflect")
            labels = np.pad(labels, pad, constant_values=IGNORE)
        return np.ascontiguousarray(image), np.ascontiguousarray(labels)

    def _normaliser(self, part: int) -> Normaliser:
        if part not in self._normalisers:
            assert self._normalise is not None
            self._normalisers[part] = self._normalise(self._parts[part].item)
        return self._normalisers[part]
