"""Bands in files of their own as one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tasks.imagery.bands import Band
from tasks.imagery.protocol import Image, ImageInfo, Pixels, Window
from tasks.imagery.source import Source


class StackedImage:
    """Channels of several images on one grid; closing it closes them.

    A pixel is valid where every channel is.

    Args:
        images: One channel each, all on one grid.
        fills: Per image, the stored number that means no data, or None.
        info: Of the stack, see :func:`stack_info`.
    """

    def __init__(self, images: Sequence[Image], fills: Sequence[float | None], info: ImageInfo) -> None:
        self._images, self._fills, self._info = tuple(images), tuple(fills), info

    @property
    def info(self) -> ImageInfo:
        """Of all channels."""
        return self._info

    def read(self, window: Window) -> Pixels:
        """See ``Image``."""
        shape = tuple(s.stop - s.start for s in window)
        values = np.empty((*shape, len(self._images)), self._info.dtype)
        valid = np.ones(shape, bool)
        for i, (image, fill) in enumerate(zip(self._images, self._fills, strict=True)):
            part = image.read(window)
            values[..., i] = part.values[..., 0]
            valid &= part.valid
            if fill is not None:
                valid &= part.values[..., 0] != fill
        return Pixels(values, valid)

    def close(self) -> None:
        """See ``Image``."""
        for image in self._images:
            image.close()


def stack_info(
    images: Sequence[Image],
    bands: Sequence[Band],
    fills: Sequence[float | None],
    *,
    source: Source,
    finest: int,
    notes: tuple[str, ...] = (),
) -> ImageInfo:
    """What is known of a stack: the grid and storage of the finest image, the channels of all."""
    first = images[finest].info
    said = dict.fromkeys(n for image in images for n in image.info.notes)
    fill = fills[0] if len(set(fills)) == 1 else None
    return replace(
        first,
        source=source,
        format="scene",
        channels=_unique([b.name for b in bands]),
        dtype=np.result_type(*(np.dtype(i.info.dtype) for i in images)).name,
        nodata=first.nodata if fill is None else fill,
        grid={**first.grid, "sidecars": []},
        notes=(*notes, *said),
        gdal=None,
        bands=tuple(bands),
    )


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    """Names that differ by more than letter case, as columns of tables are named after them."""
    # mean_confidence is a column already.
    taken, unique = {"confidence"}, []
    for name in names:
        new, n = name, 2
        while new.casefold() in taken:
            new, n = f"{name}_{n}", n + 1
        taken.add(new.casefold())
        unique.append(new)
    return tuple(unique)
