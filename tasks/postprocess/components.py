"""Connected components of bands, labelled twice alike: first measured, then repainted.

The scan of ``tasks.regions.kernel`` hands out provisional labels in raster order, so a second scan
of the same lines gives every run the label that it had in the first: what was decided of a region
between the two is looked up by label. Held are two slices of runs and a row per label, no mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from tasks.regions.kernel import scan_slice
from tasks.regions.scanner import BORDER, CODE, CONFIDENCE, FIRST, INTS, PIXELS, PixelSizes


@dataclass(frozen=True)
class Table:
    """Components, ordered by smallest raster index.

    Attributes:
        code: ``(n,)``.
        pixels: ``(n,)``.
        size: ``(n,)`` true size.
        first: ``(n,)`` smallest raster index.
        frame: ``(n,)``.
        border: ``(n,)`` whether it touches the image's border.
        marked: ``(n,)`` whether it holds a marked pixel.
        label: ``(labels,)`` row of each provisional label.
    """

    code: npt.NDArray[np.int64]
    pixels: npt.NDArray[np.int64]
    size: npt.NDArray[np.float64]
    first: npt.NDArray[np.int64]
    frame: npt.NDArray[np.int64]
    border: npt.NDArray[np.bool_]
    marked: npt.NDArray[np.bool_]
    label: npt.NDArray[np.int64]


class Components:
    """One labelling; takes a mask's lines in raster order.

    Args:
        shape: Of the mask: ``(y, x)``, ``(z, y, x)`` or ``(t, z, y, x)``; frames are never connected.
        codes: Whose components are wanted.
        full: Whether pixels that share only a corner (or an edge, in 3-D) are connected.
        wraps: Whether the first and last columns of a 2-D mask are neighbours.
        sizes: True pixel sizes.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        codes: tuple[int, ...],
        full: bool,
        wraps: bool,
        sizes: PixelSizes,
    ) -> None:
        self._shape, self._full, self._wraps, self._sizes = shape, full, wraps, sizes
        self._flat = len(shape) == 2
        self._slices = shape[0] if self._flat else shape[-3]
        self._ny, self._nx = 1 if self._flat else shape[-2], shape[-1]
        self._wanted = np.zeros(1 << 16, bool)
        self._wanted[list(codes)] = True
        self._counts = np.zeros(1 << 16, np.int64), np.zeros(1 << 16)
        self._none = np.zeros((self._ny, self._nx, 0), np.uint8)
        self.rewind()

    def rewind(self) -> None:
        """Begins again at the first line; labels will be handed out as before."""
        self._runs = [np.empty((self._ny * self._nx, 4), np.int64) for _ in range(2)]
        self._lines = [np.zeros(self._ny + 1, np.int64) for _ in range(2)]
        self._labels = self._next = 0
        self._parent = np.empty(0, np.int64)
        self._ints = np.zeros((0, INTS), np.int64)
        self._floats = np.zeros((0, 4))
        self._frame_starts: list[int] = []
        self._ends = np.full((self._slices, 2, 2), -1, np.int64) if self._wraps else None

    def feed(
        self,
        codes: npt.NDArray[Any],
        marked: npt.NDArray[np.bool_] | None = None,
        *,
        paint: npt.NDArray[np.int64] | None = None,
        target: npt.NDArray[Any] | None = None,
    ) -> None:
        """Adds the next slices, all of one frame.

        Args:
            codes: ``(slices, y, x)``; a 2-D mask's rows are slices of one line.
            marked: ``(slices, y, x)`` pixels that mark their component.
            paint: ``(labels,)`` new code of each label, negative to leave it.
            target: ``(slices, y, x)``, repainted; may be ``codes``.
        """
        count = codes.shape[0]
        start = self._next % self._slices
        lines = self._sizes.lines(start, start + count) if self._flat else self._sizes.lines(0, 1)
        marks = np.zeros(codes.shape, np.uint8) if marked is None else marked.astype(np.uint8)
        for i in range(count):
            line = lines[i : i + 1] if self._flat else np.broadcast_to(lines, (self._ny, lines.shape[1]))
            self._slice(start + i, codes[i], marks[i], np.ascontiguousarray(line))
            if paint is not None and target is not None:
                _paint(self._runs[0], self._lines[0], paint, target[i])
        self._next += count

    def _slice(
        self,
        z: int,
        codes: npt.NDArray[Any],
        marks: npt.NDArray[np.uint8],
        sizes: npt.NDArray[np.float64],
    ) -> None:
        self._reserve(self._labels + self._ny * self._nx)
        if z == 0:
            self._lines[0][:] = 0
            self._frame_starts.append(self._labels)
        frame = len(self._frame_starts) - 1
        self._labels = scan_slice(
            codes,
            marks,
            self._none,
            0,
            sizes,
            float(self._sizes.col_step),
            self._wanted,
            self._full,
            z,
            z in (0, self._slices - 1) and (self._flat or self._slices > 1),
            not self._wraps,
            self._ny > 1 and not self._flat,
            (frame * self._slices + z) * self._ny * self._nx,
            self._runs[0],
            self._lines[0],
            self._runs[1],
            self._lines[1],
            self._parent,
            self._ints,
            self._floats,
            self._labels,
            *self._counts,
        )
        runs, n = self._runs[1], int(self._lines[1][-1])
        if self._ends is not None and n:
            if runs[0, 0] == 0:
                self._ends[z, 0] = runs[0, 3], runs[0, 2]
            if runs[n - 1, 1] == self._nx:
                self._ends[z, 1] = runs[n - 1, 3], runs[n - 1, 2]
        self._runs.reverse()
        self._lines.reverse()

    def _reserve(self, n: int) -> None:
        have = self._parent.size
        if n <= have:
            return
        size = max(n, 2 * have)
        for name in ("_parent", "_ints", "_floats"):
            old = getattr(self, name)
            new = np.zeros((size, *old.shape[1:]), old.dtype)
            new[:have] = old
            setattr(self, name, new)

    def table(self) -> Table:
        """What the lines so far hold."""
        n = self._labels
        parent = self._parent[:n].copy()
        self._join_ends(parent)
        _resolve(parent)
        roots, member = np.unique(parent, return_inverse=True)
        ints, size = self._ints[:n], np.zeros(roots.size)
        np.add.at(size, member, self._floats[:n, 0])
        summed = {c: np.zeros(roots.size, np.int64) for c in (PIXELS, CONFIDENCE, BORDER)}
        for column, total in summed.items():
            np.add.at(total, member, ints[:, column])
        first = np.full(roots.size, np.iinfo(np.int64).max)
        np.minimum.at(first, member, ints[:, FIRST])
        frame = np.searchsorted(self._frame_starts, roots, side="right") - 1
        return Table(
            code=ints[roots, CODE],
            pixels=summed[PIXELS],
            size=size,
            first=first,
            frame=np.asarray(frame, np.int64),
            border=summed[BORDER] > 0,
            marked=summed[CONFIDENCE] > 0,
            label=member,
        )

    def _join_ends(self, parent: npt.NDArray[np.int64]) -> None:
        """Unites components whose ends meet across the seam of a wrapping mask."""
        if self._ends is None:
            return
        reach = int(self._full)
        for y in np.flatnonzero(self._ends[:, 0, 0] >= 0).tolist():
            for other in range(max(0, y - reach), min(self._slices, y + reach + 1)):
                label, code = self._ends[other, 1]
                if label >= 0 and code == self._ends[y, 0, 1]:
                    _unite(parent, int(self._ends[y, 0, 0]), int(label))


@numba.njit(nogil=True, cache=True)
def _unite(parent: npt.NDArray[np.int64], a: int, b: int) -> None:
    while parent[a] != a:
        a = parent[a]
    while parent[b] != b:
        b = parent[b]
    parent[max(a, b)] = min(a, b)


@numba.njit(nogil=True, cache=True)
def _resolve(parent: npt.NDArray[np.int64]) -> None:
    """Every label gets its root; a parent is never larger than its child."""
    for i in range(parent.size):
        parent[i] = parent[parent[i]]


@numba.njit(nogil=True, cache=True)
def _paint(
    runs: npt.NDArray[np.int64],
    lines: npt.NDArray[np.int64],
    paint: npt.NDArray[np.int64],
    target: npt.NDArray[Any],
) -> None:
    for y in range(target.shape[0]):
        for i in range(lines[y], lines[y + 1]):
            code = paint[runs[i, 3]]
            if code >= 0:
                target[y, runs[i, 0] : runs[i, 1]] = code
