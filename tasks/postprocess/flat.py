"""A mask's codes as a plain file, read and written a few lines at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

#: Pixels that a piece holds, unless a single slice is larger.
PIECE = 1 << 21


class FlatMask:
    """Codes in raster order, ``shape`` of ``dtype``, nothing else in the file.

    Attributes:
        slice_shape: ``(y, x)`` of a slice; a 2-D mask's rows are slices of one line.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path, self.shape, self.dtype = path, shape, dtype
        self.slice_shape = (1, shape[-1]) if len(shape) == 2 else (shape[-2], shape[-1])
        self._frames = shape[0] if len(shape) == 4 else 1
        self._slices = shape[0] if len(shape) == 2 else shape[-3]

    def pieces(self) -> Iterator[tuple[int, int]]:
        """First slice and number of slices of each piece, in order; none crosses frames."""
        most = max(1, PIECE // math.prod(self.slice_shape))
        for frame in range(self._frames):
            for start in range(0, self._slices, most):
                yield frame * self._slices + start, min(most, self._slices - start)

    def read(self, first: int, count: int) -> npt.NDArray[Any]:
        """Slices ``(count, y, x)``, writable."""
        out = np.empty((count, *self.slice_shape), self.dtype)
        with self.path.open("rb") as file:
            file.seek(first * self._bytes)
            if file.readinto(out.data.cast("B")) != out.nbytes:
                raise OSError(f"{self.path} is shorter than its mask")
        return out

    def write(self, first: int, codes: npt.NDArray[Any]) -> None:
        """Replaces slices in place, or adds the next ones."""
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.seek(first * self._bytes)
            file.write(np.ascontiguousarray(codes, self.dtype).data)

    @property
    def _bytes(self) -> int:
        return math.prod(self.slice_shape) * self.dtype.itemsize
