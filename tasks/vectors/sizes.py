"""True sizes of runs of pixels in a few steps each: sums along the lines of the lattice of pixel areas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.imagery.earth.areas import PixelAreas

_F = npt.NDArray[np.float64]
#: Lines of the lattice whose sums are held at once.
_NODES = 32


@dataclass(frozen=True)
class LineSizes:
    """Sizes of the pixels of some lines.

    A run ``[a, b)`` of line ``i`` has ``scale[i] · ((1 - u) (s[k][b] - s[k][a]) + u (s[k+1][b] - s[k+1][a]))``
    with ``k = above[i]``, ``u = part[i]`` and ``s = sums``: areas are linear between the lattice's lines.

    Attributes:
        sums: ``(n + 1, width + 1)`` from the left end of each line of the lattice.
        above: ``(lines,)``.
        part: ``(lines,)``.
        scale: ``(lines,)``.
    """

    sums: _F
    above: npt.NDArray[np.int64]
    part: _F
    scale: _F


def plain_sizes(lines: int, width: int) -> LineSizes:
    """Every pixel counts 1."""
    sums = np.tile(np.arange(width + 1, dtype=np.float64), (2, 1))
    return LineSizes(sums, np.zeros(lines, np.int64), np.zeros(lines), np.ones(lines))


class Sizes:
    """Sizes of a raster's lines.

    Args:
        areas: Of its pixels.
        width: Columns.

    Attributes:
        step: Lines to ask for at once.
    """

    def __init__(self, areas: PixelAreas, width: int) -> None:
        self._areas, self._width = areas, width
        self._even = areas.lattice.shape[1] == 1
        self.step = 1 << 12 if self._even else max(1, int(_NODES * areas.row_step))

    def of(self, start: int, count: int) -> LineSizes:
        """Of the lines ``[start, start + count)``."""
        if self._even:
            plain = plain_sizes(count, self._width)
            at = self._areas.at(np.arange(start, start + count), 0)
            return LineSizes(plain.sums, plain.above, plain.part, at)
        rows = np.arange(start, start + count) / self._areas.row_step
        last = max(self._areas.lattice.shape[0] - 2, 0)
        above = np.clip(np.floor(rows), 0, last).astype(np.int64)
        nodes = np.minimum(np.arange(above[0], above[-1] + 2), self._areas.lattice.shape[0] - 1)
        sums = np.zeros((nodes.size, self._width + 1))
        lines, columns = nodes[:, np.newaxis] * self._areas.row_step, np.arange(self._width)[np.newaxis]
        np.cumsum(self._areas.at(lines, columns), axis=1, out=sums[:, 1:])
        part = rows - above if self._areas.lattice.shape[0] > 1 else np.zeros(count)
        return LineSizes(sums, above - above[0], part, np.ones(count))
