"""What a truth file says per pixel, before its values are looked up: masks, instances, panoptic ids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tasks.datasets.sources import Grid, Source, open_source
from tasks.errors import InputError
from tasks.imagery.protocol import Window

#: A raw value that no file holds: nothing is known there.
UNKNOWN = -(2**31)


class Truth(Protocol):
    """Open truth; ``raw`` may be called from several threads."""

    shape: tuple[int, ...]
    grid: Grid | None

    def raw(self, window: Window) -> npt.NDArray[np.int32]:
        """``(*window)`` values as the file has them, :data:`UNKNOWN` where it has none."""
        ...

    def close(self) -> None:
        """Gives files back."""
        ...


class MaskTruth:
    """A mask: one channel of whole numbers.

    Args:
        path: Raster, volume or picture.
        scratch: Folder for inflated volumes.
        listed: Values that the data set knows; a declared nodata value that is not among
            them means that nothing is known there.

    Raises:
        InputError: The file cannot be read, or has several channels.
    """

    def __init__(self, path: Path, *, scratch: Path, listed: Mapping[int, int]) -> None:
        self._path, self._source = path, open_source(path, scratch=scratch)
        if self._source.channels != 1:
            count = self._source.channels
            self._source.close()
            raise InputError(
                f"{path} has {count} channels, but a mask has one with the number of the class; "
                "convert colours to numbers."
            )
        self.shape, self.grid = self._source.shape, self._source.grid
        nodata = self._source.nodata
        self._nodata = nodata if nodata is not None and nodata not in listed else None

    @property
    def source(self) -> Source:
        """The file, for checks of its grid."""
        return self._source

    def raw(self, window: Window) -> npt.NDArray[np.int32]:
        values = self._source.read(window).values[..., 0]
        whole = as_whole(values, self._path, nodata=self._nodata)
        if self._nodata is not None:
            whole[values == self._nodata] = UNKNOWN
        return whole

    def close(self) -> None:
        self._source.close()


class InstanceTruth:
    """Semantic classes from an instance mask: 0 background, 1 inside, 2 border.

    The border is the part of an instance within ``border`` pixels (diagonals count as one) of
    something else: background or another instance. So inside and border together are exactly the
    instances, and touching instances stay apart. The image's edge is no border.
    """

    def __init__(self, path: Path, *, scratch: Path, border: int) -> None:
        self._mask, self._border = MaskTruth(path, scratch=scratch, listed={}), border
        self.shape, self.grid = self._mask.shape, self._mask.grid

    def raw(self, window: Window) -> npt.NDArray[np.int32]:
        from scipy import ndimage

        b = self._border
        grown = tuple(
            slice(max(0, s.start - b), min(n, s.stop + b)) for s, n in zip(window, self.shape, strict=True)
        )
        ids = self._mask.raw(grown)
        size = 2 * b + 1
        # beyond the image the nearest pixel repeats, so its edge makes no border
        other = ndimage.maximum_filter(ids, size, mode="nearest") != ids
        other |= ndimage.minimum_filter(ids, size, mode="nearest") != ids
        codes = np.where(ids == 0, 0, np.where(other, 2, 1)).astype(np.int32)
        inner = tuple(slice(s.start - g.start, s.stop - g.start) for s, g in zip(window, grown, strict=True))
        return np.ascontiguousarray(codes[inner])

    def close(self) -> None:
        self._mask.close()


class PanopticTruth:
    """A panoptic PNG: segment ``R + 256 G + 65536 B``, whose category the manifest tells."""

    grid: Grid | None = None

    def __init__(self, path: Path, *, segments: Mapping[int, int], scratch: Path) -> None:
        self._path, self._source = path, open_source(path, scratch=scratch, channels=3)
        if self._source.channels != 3:
            self._source.close()
            raise InputError(f"{path} is no panoptic picture: it has no three channels; export it again.")
        self.shape = self._source.shape
        self._ids = np.array(sorted(segments), np.int64)
        self._categories = np.array([segments[i] for i in sorted(segments)], np.int32)

    def raw(self, window: Window) -> npt.NDArray[np.int32]:
        rgb = self._source.read(window).values.astype(np.int64)
        ids = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
        out = np.full(ids.shape, UNKNOWN, np.int32)
        known = ids != 0
        where = np.searchsorted(self._ids, ids[known])
        if where.size:
            found = (
                self._ids[np.minimum(where, len(self._ids) - 1)] == ids[known]
                if len(self._ids)
                else np.zeros(where.shape, bool)
            )
            if not found.all():
                segment = int(ids[known][~found][0])
                raise InputError(
                    f"{self._path} holds segment {segment}, which its manifest does not list; "
                    "export both again."
                )
            out[known] = self._categories[where]
        return out

    def close(self) -> None:
        self._source.close()


class NoTruth:
    """An item without truth: nothing is known anywhere."""

    grid: Grid | None = None

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def raw(self, window: Window) -> npt.NDArray[np.int32]:
        return np.full([s.stop - s.start for s in window], UNKNOWN, np.int32)

    def close(self) -> None:
        """Nothing to close."""


def as_whole(values: npt.NDArray[Any], path: Path, *, nodata: float | None = None) -> npt.NDArray[np.int32]:
    """Labels as int32.

    Raises:
        InputError: They are no whole numbers of that size.
    """
    if values.dtype.kind in "ui" and values.dtype.itemsize < 4:
        return values.astype(np.int32)
    kept = values if nodata is None else values[values != nodata]
    if kept.size:
        low, high = float(kept.min()), float(kept.max())
        if not (np.isfinite([low, high]).all() and low > UNKNOWN and high < 2**31):
            raise InputError(f"{path} holds {low:g} … {high:g}, which are no class numbers; export it again.")
        if values.dtype.kind == "f" and np.abs(kept - np.rint(kept)).max() > 1e-3:
            worst = float(kept.reshape(-1)[np.abs(kept - np.rint(kept)).argmax()])
            raise InputError(
                f"{path} holds {worst:g}, but labels are whole numbers; it was interpolated: resample masks "
                "with the nearest neighbour."
            )
    with np.errstate(invalid="ignore"):
        return np.rint(values).astype(np.int32) if values.dtype.kind == "f" else values.astype(np.int32)
