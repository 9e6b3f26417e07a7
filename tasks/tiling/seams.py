"""How much two tiles disagree where they overlap: sampled pixels, exact integers.

Pixels are sampled on one lattice of the whole image, so a pair of tiles is compared on the
same pixels however the work was cut, and probabilities are quantised before they are
compared, so totals are sums of integers that no order can change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.compiled import compiled
from tasks.tiling.grid import Index, TileGrid
from tasks.tiling.kernels import UNOBSERVED

#: Probability 1 as an integer; even, so that a probability of one half is one too.
SCALE = 65534
#: Stands where a tile predicted nothing.
NOTHING = 65535


def sample_steps(grid: TileGrid) -> Index:
    """Distance of sampled pixels per axis.

    About one pixel in a hundred is sampled of images, one in 300 of volumes. Steps are odd:
    an even one would share a factor with the network's stride, meet every tile at the same
    distances from its edge, and give the edge itself too much weight.
    """
    tiled = sum(a.tile > 1 for a in grid.axes)
    wide = 11 if tiled < 3 else 7
    steps = []
    for axis in grid.axes:
        step = wide if axis.tile >= 8 * wide else 3 if axis.tile >= 16 else 1
        overlap = axis.tile - axis.step
        steps.append(min(step, overlap) if overlap else step)
    return tuple(steps)


#: Lattice points ``[first, end)`` per axis.
Span = tuple[tuple[int, int], ...]


def span_size(span: Span) -> int:
    """Number of lattice points."""
    return math.prod(max(0, end - first) for first, end in span)


@dataclass(frozen=True)
class Lattice:
    """The sampled pixels of an image: those whose coordinates are multiples of ``steps``."""

    grid: TileGrid
    steps: Index

    @property
    def axes(self) -> tuple[int, ...]:
        """Axes along which neighbouring tiles overlap."""
        return tuple(d for d, a in enumerate(self.grid.axes) if a.count > 1 and a.step < a.tile)

    def span(self, tile: Index) -> Span:
        """The lattice points of a tile inside the image."""
        inside = (a.inside(k) for a, k in zip(self.grid.axes, tile, strict=True))
        return tuple((-(-p // s), -(-q // s)) for (p, q), s in zip(inside, self.steps, strict=True))

    def pair_span(self, tile: Index, axis: int) -> Span:
        """The lattice points that a tile shares with the next one along an axis; may be empty."""
        span = self.span(tile)
        first = self.grid.axes[axis].inside(tile[axis] + 1)[0]
        shared = (-(-first // self.steps[axis]), span[axis][1])
        return (*span[:axis], shared, *span[axis + 1 :])

    def pixels(self, span: Span, origin: Index) -> tuple[slice, ...]:
        """A part of the lattice as slices of an array whose first pixel is ``origin``."""
        return tuple(
            slice(first * s - o, (end - 1) * s - o + 1, s) if end > first else slice(0, 0)
            for (first, end), s, o in zip(span, self.steps, origin, strict=True)
        )


def lattice_of(grid: TileGrid) -> Lattice:
    """The lattice on which the tiles of a grid are compared."""
    return Lattice(grid, sample_steps(grid))


def following(tile: Index, axis: int) -> Index:
    """The next tile along an axis."""
    return tuple(k + (d == axis) for d, k in enumerate(tile))


@dataclass(frozen=True)
class PairCount:
    """How two neighbouring tiles disagree.

    Attributes:
        tile: The first of the two.
        pixels: Sampled pixels that both predicted.
        other_class: Of these, pixels with another most probable class.
        difference: Sum over them of ``Σ|p - p'|`` over the classes, in units of ``1 / SCALE``.
    """

    tile: Index
    pixels: int
    other_class: int
    difference: int


@dataclass(frozen=True)
class Tally:
    """The sum of many pairs along one axis.

    Attributes:
        pairs: Pairs with at least one sampled pixel.
        pixels, other_class, difference: Sums over the pairs.
        worst: The pair with most pixels of another class (ties: largest difference, first tile).
    """

    pairs: int = 0
    pixels: int = 0
    other_class: int = 0
    difference: int = 0
    worst: PairCount | None = None

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.pairs + other.pairs,
            self.pixels + other.pixels,
            self.other_class + other.other_class,
            self.difference + other.difference,
            max((w for w in (self.worst, other.worst) if w), key=_badness, default=None),
        )


def _badness(pair: PairCount) -> tuple[int, int, Index]:
    return pair.other_class, pair.difference, tuple(-k for k in pair.tile)


def tally(tile: Index, a: npt.NDArray[np.uint16], b: npt.NDArray[np.uint16]) -> Tally:
    """Compares the common samples of a tile and the next one.

    Args:
        tile: The first of the two.
        a: Its probabilities ``(planes, n)``, quantised by :func:`quantise`.
        b: Those of the other.
    """
    # Copies, so that one compiled kernel serves strips of any layout, read-only ones included.
    pixels, other_class, difference = compare(np.array(a, order="C"), np.array(b, order="C"))
    if not pixels:
        return Tally()
    worst = PairCount(tile, int(pixels), int(other_class), int(difference))
    return Tally(1, worst.pixels, worst.other_class, worst.difference, worst)


@compiled(boundscheck=False)
def quantise(
    logits: npt.NDArray[np.float32], status: npt.NDArray[np.uint8], out: npt.NDArray[np.uint16]
) -> None:
    """Probabilities as integers; ``NOTHING`` where a pixel has no data.

    Args:
        logits: ``(z, y, x, logits)``.
        status: ``(z, y, x)``; a *failed* pixel belongs to another tile and counts here.
        out: ``(planes, z, y, x)``: of two classes only the second.
    """
    nz, ny, nx, nc = logits.shape
    planes = out.shape[0]
    exps = np.empty(nc, np.float32)
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if status[z, y, x] >= UNOBSERVED:
                    for c in range(planes):
                        out[c, z, y, x] = NOTHING
                elif planes == 1:
                    d = logits[z, y, x, 0] if nc == 1 else logits[z, y, x, 1] - logits[z, y, x, 0]
                    p = np.float32(0.5) + np.float32(0.5) * math.tanh(np.float32(0.5) * d)
                    out[0, z, y, x] = np.uint16(p * np.float32(SCALE) + np.float32(0.5))
                else:
                    top = logits[z, y, x, 0]
                    for c in range(1, nc):
                        top = max(top, logits[z, y, x, c])
                    total = np.float32(0.0)
                    for c in range(nc):
                        exps[c] = math.exp(logits[z, y, x, c] - top)
                        total += exps[c]
                    factor = np.float32(SCALE) / total
                    for c in range(nc):
                        out[c, z, y, x] = np.uint16(exps[c] * factor + np.float32(0.5))


@compiled(boundscheck=False)
def compare(a: npt.NDArray[np.uint16], b: npt.NDArray[np.uint16]) -> tuple[int, int, np.int64]:
    """Counts common pixels, those of another class, and sums ``Σ|p - p'|``; ``(planes, n)`` each."""
    planes, n = a.shape
    pixels, other_class, difference = 0, 0, np.int64(0)
    for i in range(n):
        if a[0, i] == NOTHING or b[0, i] == NOTHING:
            continue
        pixels += 1
        if planes == 1:
            other_class += (a[0, i] > SCALE // 2) != (b[0, i] > SCALE // 2)
            difference += 2 * abs(np.int64(a[0, i]) - np.int64(b[0, i]))
            continue
        first, second = 0, 0
        for c in range(planes):
            if a[c, i] > a[first, i]:
                first = c
            if b[c, i] > b[second, i]:
                second = c
            difference += abs(np.int64(a[c, i]) - np.int64(b[c, i]))
        other_class += first != second
    return pixels, other_class, difference
