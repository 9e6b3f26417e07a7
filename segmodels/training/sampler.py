"""Random tiles from an image in memory, more of them where it matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

EDGES = -1
"""Focus on label edges: pixels whose next neighbour along some axis has another label."""


class TileSampler:
    """Draws tiles that lie wholly inside the areas given, so nothing leaks across a split.

    Args:
        image: ``(*spatial, channels)``, any dtype.
        labels: ``(*spatial)`` integer codes on the same grid.
        tile: Size per spatial axis.
        areas: Boxes (one slice per axis, in bounds) that tiles must lie in. An area is
            drawn in proportion to its number of pixels.
        focus: Share of tiles centred on a random pixel of a code, or of :data:`EDGES`;
            the rest is placed uniformly. ``{2: 0.25, EDGES: 0.25}``, for example.
        seed: Seed of the placement.

    Raises:
        ValueError: An area is smaller than the tile, or the shares exceed 1.
    """

    def __init__(
        self,
        image: npt.NDArray[Any],
        labels: npt.NDArray[Any],
        *,
        tile: Sequence[int],
        areas: Sequence[tuple[slice, ...]],
        focus: Mapping[int, float] | None = None,
        seed: int = 0,
    ) -> None:
        self.image, self.labels, self.tile = image, labels, tuple(tile)
        self.rng = np.random.default_rng(seed)
        self._boxes = [tuple((s.start, s.stop) for s in area) for area in areas]
        for box in self._boxes:
            if len(box) != len(self.tile) or any(b - a < t for (a, b), t in zip(box, self.tile, strict=True)):
                raise ValueError(f"the training area {box} is smaller than the tile {self.tile}")
        volume = np.array([np.prod([b - a for a, b in box], dtype=float) for box in self._boxes])
        self._share = volume / volume.sum()
        focus = dict(focus or {})
        if sum(focus.values()) > 1:
            raise ValueError("the shares of focused tiles exceed 1")
        self._focus = [
            (share, [self._pixels(code, area) for area in areas])
            for code, share in focus.items()
            if share > 0
        ]

    def draw(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """One tile: views ``(*tile, channels)`` and ``(*tile)``; copy before changing them."""
        start = self._start()
        window = tuple(slice(a, a + t) for a, t in zip(start, self.tile, strict=True))
        return self.image[window], self.labels[window]

    def _start(self) -> tuple[int, ...]:
        u = self.rng.random()
        for share, pixels in self._focus:
            if u < share:
                sizes = np.array([len(p) for p in pixels], dtype=float)
                if sizes.sum() == 0:
                    break
                which = int(self.rng.choice(len(sizes), p=sizes / sizes.sum()))
                centre = pixels[which][self.rng.integers(len(pixels[which]))]
                box = self._boxes[which]
                # the pixel lands anywhere in the tile, not always in its middle
                corner = [int(c) - int(self.rng.integers(t)) for c, t in zip(centre, self.tile, strict=True)]
                return tuple(
                    min(max(c, a), b - t) for c, (a, b), t in zip(corner, box, self.tile, strict=True)
                )
            u -= share
        box = self._boxes[int(self.rng.choice(len(self._boxes), p=self._share))]
        return tuple(int(self.rng.integers(a, b - t + 1)) for (a, b), t in zip(box, self.tile, strict=True))

    def _pixels(self, code: int, area: tuple[slice, ...]) -> npt.NDArray[np.int32]:
        labels = self.labels[area]
        if code == EDGES:
            found = np.zeros(labels.shape, bool)
            for axis in range(labels.ndim):
                here = tuple(slice(0, -1) if a == axis else slice(None) for a in range(labels.ndim))
                found[here] |= np.diff(labels.astype(np.int16), axis=axis) != 0
        else:
            found = labels == code
        offset = np.array([s.start for s in area])
        return (np.argwhere(found) + offset).astype(np.int32)
