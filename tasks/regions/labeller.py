"""Provisional labels of a mask's components, slice by slice: what measuring and repainting have in common.

The compiled scan hands out labels in raster order, so a second pass over the same lines gives every run the
label that it had in the first. Held are two slices of runs and a row per label, no mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tasks.compiled import compiled
from tasks.regions.kernel import join, scan_slice

INTS = 12
CODE, PIXELS, FIRST, Z0, Y0, X0, Z1, Y1, X1, CONFIDENCE, BORDER = range(11)

Runs = npt.NDArray[np.int64]


class PixelSizes(Protocol):
    """True size of a pixel as a lattice over lines, see ``scan_slice``."""

    @property
    def col_step(self) -> float: ...

    def lines(self, start: int, stop: int) -> npt.NDArray[np.float64]:
        """``(stop - start, nodes)`` for image lines ``start`` … ``stop``."""
        ...

    def total(self, shape: tuple[int, ...]) -> float:
        """Size of the whole grid, measured apart from any mask."""
        ...


class Labeller:
    """Takes a mask's slices in raster order.

    Args:
        shape: Of the mask: ``(y, x)``, ``(z, y, x)`` or ``(t, z, y, x)``; frames are never connected.
        codes: Whose components are wanted.
        channels: Values per pixel that are added up per label.
        full: Whether pixels that share only a corner (or an edge, in 3-D) are connected.
        wraps: Whether the first and last columns of a 2-D mask are neighbours.
        sizes: True pixel sizes.

    Attributes:
        flat: A 2-D mask, whose rows are slices of one line.
        slices: Of a frame.
        slice_shape: ``(y, x)``.
        seen: Slices so far, of all frames.
        labels: In use.
        ints: ``(≥ labels, 12)`` as ``scan_slice`` fills them; columns are the module's constants.
        floats: ``(≥ labels, 4 + channels)``.
        frame_starts: First label of each frame.
        code_pixels: Pixels by code, of all codes.
        code_sizes: True sizes by code.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        codes: tuple[int, ...],
        channels: int = 0,
        full: bool,
        wraps: bool,
        sizes: PixelSizes,
    ) -> None:
        self.flat = len(shape) == 2
        self.slices = shape[0] if self.flat else shape[-3]
        self.slice_shape = (1, shape[-1]) if self.flat else (shape[-2], shape[-1])
        self._channels, self._full, self._wraps, self._sizes = channels, full, wraps, sizes
        self._wanted = np.zeros(1 << 16, bool)
        self._wanted[list(codes)] = True
        self.rewind()

    def rewind(self) -> None:
        """Begins again at the first slice; labels will be handed out as before."""
        ny, nx = self.slice_shape
        self._runs = [np.empty((ny * nx, 4), np.int64) for _ in range(2)]
        self._lines = [np.zeros(ny + 1, np.int64) for _ in range(2)]
        self.seen = self.labels = 0
        self._parent = np.empty(0, np.int64)
        self.ints = np.zeros((0, INTS), np.int64)
        self.floats = np.zeros((0, 4 + self._channels))
        self.frame_starts: list[int] = []
        self.code_pixels, self.code_sizes = np.zeros(1 << 16, np.int64), np.zeros(1 << 16)
        self._ends = np.full((self.slices, 2, 2), -1, np.int64) if self._wraps else None

    def feed(
        self, codes: npt.NDArray[Any], confidence: npt.NDArray[np.uint8], values: npt.NDArray[Any]
    ) -> Iterator[tuple[int, Runs, Runs]]:
        """Labels the next slices, all of one frame, as they are asked for.

        Args:
            codes: ``(slices, y, x)``.
            confidence: ``(slices, y, x)``, added up per label.
            values: ``(slices, y, x, channels)``, added up per label.

        Yields:
            Position of the slice in its frame; its runs ``(n, 4)``: start, end, code, label; and the
            first run of each line, ``(y + 1,)``. They are overwritten two slices later.
        """
        count, ny = len(codes), self.slice_shape[0]
        start = self.seen % self.slices
        lines = self._sizes.lines(start, start + count) if self.flat else self._sizes.lines(0, 1)
        if not self.flat:
            lines = np.broadcast_to(lines, (ny, lines.shape[1]))
        lines = np.ascontiguousarray(lines)
        for i in range(count):
            z = start + i
            self._scan(z, codes[i], confidence[i], values[i], lines[i : i + 1] if self.flat else lines)
            runs, first = self._runs[1], self._lines[1]
            if self._ends is not None:
                self._touch(z, runs[: first[-1]])
            self._runs.reverse()
            self._lines.reverse()
            self.seen += 1
            yield z, runs[: first[-1]], first

    def _scan(
        self,
        z: int,
        codes: npt.NDArray[Any],
        confidence: npt.NDArray[np.uint8],
        values: npt.NDArray[Any],
        sizes: npt.NDArray[np.float64],
    ) -> None:
        ny, nx = self.slice_shape
        self._reserve(self.labels + ny * nx)
        if z == 0:
            self._lines[0][:] = 0
            self.frame_starts.append(self.labels)
        self.labels = scan_slice(
            codes,
            confidence,
            values,
            0 if values.dtype.kind in "iu" and values.dtype.itemsize <= 4 else 0.0,
            sizes,
            float(self._sizes.col_step),
            self._wanted,
            self._full,
            z,
            z in (0, self.slices - 1) and (self.flat or self.slices > 1),
            not self._wraps,
            ny > 1 and not self.flat,
            self.seen * ny * nx,
            self._runs[0],
            self._lines[0],
            self._runs[1],
            self._lines[1],
            self._parent,
            self.ints,
            self.floats,
            self.labels,
            self.code_pixels,
            self.code_sizes,
        )

    def _touch(self, z: int, runs: Runs) -> None:
        """Remembers which labels reach the ends of a line."""
        assert self._ends is not None
        if len(runs) and runs[0, 0] == 0:
            self._ends[z, 0] = runs[0, 3], runs[0, 2]
        if len(runs) and runs[-1, 1] == self.slice_shape[1]:
            self._ends[z, 1] = runs[-1, 3], runs[-1, 2]

    def _reserve(self, n: int) -> None:
        have = self._parent.size
        if n <= have:
            return
        size = max(n, 2 * have)
        for name in ("_parent", "ints", "floats"):
            old = getattr(self, name)
            new = np.zeros((size, *old.shape[1:]), old.dtype)
            new[:have] = old
            setattr(self, name, new)

    def roots(self, *, wrapped: bool) -> npt.NDArray[np.int64]:
        """``(labels,)`` first label of each label's component.

        Args:
            wrapped: Whether components that meet across the seam of a wrapping mask are one.
        """
        parent = self._parent[: self.labels].copy()
        if wrapped:
            for a, b in self.meetings():
                join(parent, a, b)
        _resolve(parent)
        return parent

    def meetings(self) -> Iterator[tuple[int, int]]:
        """Pairs of labels whose ends meet across the seam of a wrapping mask."""
        if self._ends is None:
            return
        reach = int(self._full)
        for y in np.flatnonzero(self._ends[:, 0, 0] >= 0).tolist():
            for other in range(max(0, y - reach), min(self.slices, y + reach + 1)):
                label, code = self._ends[other, 1]
                if label >= 0 and code == self._ends[y, 0, 1]:
                    yield int(self._ends[y, 0, 0]), int(label)


@compiled()
def _resolve(parent: npt.NDArray[np.int64]) -> None:
    """Every label gets its root; a parent is never larger than its child."""
    for i in range(parent.size):
        parent[i] = parent[parent[i]]
