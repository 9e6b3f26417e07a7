"""The codes of a mask in a plain file, collected window by window before they take a format's own order."""

from __future__ import annotations

import math
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.imagery.mask_files import need_space
from tasks.imagery.protocol import Window

_CHUNK = 1 << 20


class FlatCodes:
    """A mapped file of ``shape``, last axis fastest, filled with one code until others are written.

    Args:
        path: The file; made anew.
        shape: Of the mask.
        dtype: Of a code.
        fill: The code of pixels that are never written.

    Raises:
        OSError: The disk cannot take it.
    """

    def __init__(self, path: Path, *, shape: tuple[int, ...], dtype: np.dtype[Any], fill: int) -> None:
        self.path, self.shape, self.dtype = path, shape, dtype
        size = math.prod(shape) * dtype.itemsize
        path.parent.mkdir(parents=True, exist_ok=True)
        need_space(path.parent, size)
        with path.open("wb") as f:
            piece = dtype.type(fill).tobytes() * (_CHUNK // dtype.itemsize)
            for start in range(0, size, _CHUNK):
                f.write(piece[: min(_CHUNK, size - start)])
        fd = os.open(path, os.O_RDWR)
        try:
            self._map: mmap.mmap | None = mmap.mmap(fd, size)
        finally:
            os.close(fd)

    def write(self, window: Window, codes: npt.NDArray[Any]) -> None:
        """Writes a window.

        Raises:
            ValueError: The file is closed.
        """
        if self._map is None:
            raise ValueError(f"{self.path} is finished")
        target = np.ndarray(self.shape, self.dtype, buffer=self._map)
        target[window] = codes.astype(self.dtype, casting="same_kind", copy=False)
        del target
        self._forget()

    def read(self, window: Window) -> npt.NDArray[Any]:
        """A copy of a window.

        Raises:
            ValueError: The file is closed.
        """
        if self._map is None:
            raise ValueError(f"{self.path} is finished")
        out = np.array(np.ndarray(self.shape, self.dtype, buffer=self._map)[window])
        self._forget()
        return out

    def close(self) -> None:
        """Closes the file, which stays; may be called again."""
        mapped, self._map = self._map, None
        if mapped is not None:
            mapped.close()

    def _forget(self) -> None:
        # Mapped pages would count as this process's memory; the page cache keeps them.
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
