"""The lattice of a run: its geometry against the image's own grid, both ways, and parts of images carried over."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.resampling.geometry import Steps, centres, lattice_shape, source_window
from tasks.tiling.area import Area
from tasks.tiling.grid import Index

#: Shares of a lattice pixel in an image's pixel are whole numbers of this: with 16 bits of probability and three
#: axes every sum is a whole number below 2⁵³, so no order of adding can change it.
SHARES = 1 << 12


@dataclass(frozen=True)
class Resampling:
    """How the lattice that a model sees lies in an image.

    Attributes:
        shape: Pixels of the image per axis.
        steps: Its pixels per pixel of the lattice, per axis; 1 along axes that are taken as they are.
        spacing: Of the image, along its last axes.
        unit: Of the spacing: ``mm`` or ``m``.
    """

    shape: Index
    steps: Steps
    spacing: tuple[float, ...]
    unit: str

    @property
    def lattice(self) -> Index:
        """Pixels of the lattice per axis."""
        return lattice_shape(self.shape, self.steps)

    @property
    def back(self) -> Steps:
        """Pixels of the lattice per pixel of the image."""
        return tuple(1.0 if s == 1 else 1 / s for s in self.steps)

    @property
    def sampled(self) -> tuple[float, ...]:
        """Spacing of the lattice, along its last axes."""
        steps = self.steps[-len(self.spacing) :]
        return tuple(h * s for h, s in zip(self.spacing, steps, strict=True))

    def needed(self, low: Index, high: Index) -> tuple[Index, Index]:
        """The box of the lattice from which a box of the image gets its classes; empty for an empty one."""
        if any(a >= h for a, h in zip(low, high, strict=True)):
            return low, low
        window = tuple(slice(a, h) for a, h in zip(low, high, strict=True))
        found = source_window(window, self.lattice, self.back)
        return tuple(s.start for s in found), tuple(s.stop for s in found)

    def reached(self, low: Index, high: Index) -> tuple[Index, Index]:
        """A box of the image that holds every pixel which gets its class from a box of the lattice, or a pixel more."""
        first, end = [], []
        for a, h, n, m, step in zip(low, high, self.shape, self.lattice, self.steps, strict=True):
            if step == 1:
                first.append(a)
                end.append(h)
                continue
            first.append(0 if a == 0 else max(0, math.floor((a - 0.5) * step - 0.5) - 1))
            end.append(n if h == m else min(n, math.ceil((h + 0.5) * step - 0.5) + 1))
        return tuple(first), tuple(end)

    def places(self, axis: int, low: int, high: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Where pixels ``[low, high)`` of an axis lie on the lattice.

        Returns:
            The pixel of the lattice before each, and the share of the one after it in :data:`SHARES`; where that is
            0, the one after it may not exist.
        """
        if self.steps[axis] == 1:
            return np.arange(low, high, dtype=np.int64), np.zeros(high - low, np.int64)
        at = centres(slice(low, high), self.lattice[axis], self.back[axis])
        fine = np.rint(at * SHARES).astype(np.int64)
        return fine // SHARES, fine % SHARES

    def say(self) -> str:
        """Both spacings, slowest axis first: what was sampled, and from what."""
        axes = ", ".join("zyx"[-len(self.spacing) :])
        return f"sampled at {_by(self.sampled)} {self.unit} ({axes}) from {_by(self.spacing)} {self.unit}"

    def as_json(self) -> dict[str, Any]:
        """For the record; axes slowest first."""
        return {
            "spacing": list(self.sampled),
            "from": list(self.spacing),
            "unit": self.unit,
            "shape": list(self.lattice),
            "says": self.say(),
        }


@dataclass(frozen=True, kw_only=True)
class SampledArea(Area):
    """A part of an image as the lattice's tiles see it; ``low`` and ``high`` are on the lattice.

    Attributes:
        image: The part itself, on the image's grid.
        resampling: How the lattice lies in the image.
    """

    image: Area
    resampling: Resampling

    def touches(self, low: Index, high: Index) -> bool:
        """Whether any pixel of the part gets its class from a box of the lattice."""
        return self.image.touches(*self.resampling.reached(low, high))


def on_lattice(area: Area | None, resampling: Resampling | None) -> Area | None:
    """A part of an image as the tiles of its run see it."""
    if area is None or resampling is None:
        return area
    low, high = resampling.needed(area.low, area.high)
    return SampledArea(low, high, area.digest, area.bitmap, image=area, resampling=resampling)


def on_lattice_window(
    window: tuple[Index, Index] | None, resampling: Resampling | None
) -> tuple[Index, Index] | None:
    """A box of an image as the tiles of its run see it."""
    return window if window is None or resampling is None else resampling.needed(*window)


def _by(sizes: tuple[float, ...]) -> str:
    return " × ".join(f"{v:.4g}" for v in sizes)
