"""Voxels that lie one after another in a plain file, read piece by piece with ``pread``.

Thread-safe without a lock, and no mapped pages count against the run's memory.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.errors import InputError
from tasks.imagery.protocol import Window

#: Bytes held at once, besides the window itself.
_PIECE = 8 << 20
#: Gaps of fewer bytes are read and dropped: that is cheaper than another call.
_GAP = 32 << 10


class Voxels:
    """A file's voxels: first axis fastest, frames slowest, the components of a voxel together.

    Args:
        path: A plain file.
        label: What the user calls it, for sentences.
        offset: Byte of its first voxel.
        dtype: Of a component, in the file's byte order.
        shape: ``(i, j, k, frames)``.
        components: Values of a voxel.
    """

    def __init__(
        self,
        path: Path,
        *,
        label: str,
        offset: int,
        dtype: np.dtype[Any],
        shape: tuple[int, int, int, int],
        components: int = 1,
    ) -> None:
        self.shape, self.dtype, self.components = shape, dtype, components
        self._label, self._offset = label, offset
        # As bytes where a voxel has several values: numpy moves those as one.
        self._element = dtype if components == 1 else np.dtype(("V", dtype.itemsize * components))
        self._fd = os.open(path, os.O_RDONLY)
        # Also without close(): an open descriptor would keep a deleted scratch file on the disk.
        self._closing = weakref.finalize(self, os.close, self._fd)

    def close(self) -> None:
        """Closes the file; reading afterwards is an error."""
        self._closing()

    def read(self, where: Window, frames: range) -> npt.NDArray[Any]:
        """Voxels ``(i, j, k, frame, component)`` in the machine's byte order.

        Raises:
            InputError: The file ends inside the window, or its disk cannot be read.
        """
        if not self._closing.alive:
            raise ValueError(f"{self._label} is closed")
        ni, nj, nk, _ = self.shape
        i, j, k = where
        item = self._element.itemsize
        wide = i.stop - i.start
        shape = (wide, j.stop - j.start, k.stop - k.start, len(frames))
        out = np.empty(shape, self._element.newbyteorder("="), order="F")
        together = max(1, _PIECE // (ni * item)) if (ni - wide) * item < _GAP else 1
        for t, frame in enumerate(frames):
            for s, plane in enumerate(range(k.start, k.stop)):
                for row in range(0, shape[1], together):
                    rows = min(together, shape[1] - row)
                    first = ((frame * nk + plane) * nj + j.start + row) * ni + i.start
                    part = self._some(first, (rows - 1) * ni + wide)
                    # Row after row begins ``ni`` voxels on; the last one is cut short.
                    strides = (item, ni * item)
                    cut = np.lib.stride_tricks.as_strided(part, (wide, rows), strides, writeable=False)
                    out[:, row : row + rows, s, t] = cut
        if self.components == 1:
            return out[..., np.newaxis]
        apart = np.ndarray((self.components, *shape), self.dtype, buffer=out.T, order="F")
        return np.moveaxis(apart, 0, -1).astype(self.dtype.newbyteorder("="), copy=False)

    def _some(self, first: int, n: int) -> npt.NDArray[Any]:
        """``n`` voxels as they are stored, from number ``first`` on."""
        item = self._element.itemsize
        try:
            data = _pread(self._fd, n * item, self._offset + first * item)
        except OSError as e:
            raise InputError(
                f"{self._label} cannot be read ({e.strerror or e}); check the disk it lies on, or copy it "
                "to another."
            ) from e
        if len(data) < n * item:
            raise InputError(f"{self._label} ends inside its voxels; fetch or export it again.")
        return np.frombuffer(data, self._element)


def _pread(fd: int, length: int, offset: int) -> bytes:
    """``os.pread`` that goes on after a short read (Linux stops at 2 GiB)."""
    parts = []
    while length:
        data = os.pread(fd, length, offset)
        if not data:
            break
        parts.append(data)
        length -= len(data)
        offset += len(data)
    return parts[0] if len(parts) == 1 else b"".join(parts)
