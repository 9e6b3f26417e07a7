"""The blocks of a run on a lattice, joined and brought back to the image's own pixels before a class is chosen.

A band of the image needs a few lines of the lattice: their probabilities are read from the blocks' files, those of
cells that several blocks touch are made of the sum of their integers, and one formula gives each pixel of the image
its class. What two bands need in common is read once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.blocks.blockfile import TileFailure
from tasks.codes import codes_of
from tasks.errors import InputError
from tasks.imagery.protocol import Image
from tasks.imagery.views.tolerant import readable_parts
from tasks.planning.plan import Plan
from tasks.resampling.lattice import Resampling
from tasks.resampling.shares import classify
from tasks.stitching.joined import JoinedBlocks
from tasks.stitching.stitch import Band, band_boxes, finished_band
from tasks.tiling.grid import Index
from tasks.tiling.kernels import FAILED, NODATA, PREDICTED, UNOBSERVED


@dataclass(frozen=True)
class Lines:
    """Probabilities of a box of the lattice.

    Attributes:
        low: Its first pixel.
        high: Its end.
        shares: ``(planes, *box)``.
        status: ``(*box)``.
    """

    low: Index
    high: Index
    shares: npt.NDArray[Any]
    status: npt.NDArray[np.uint8]


class NativeStitch:
    """The blocks of a run on a lattice, joined on the image's own pixels.

    Args:
        plan: The run's plan, with a lattice.
        directory: Folder of block files. A block without a file counts as failed.
        rows: Lines of the image per band.
        image: Opens the image itself, whose own pixels without data have none in the mask either.
    """

    def __init__(self, plan: Plan, directory: Path, *, rows: int, image: Callable[[], Image]) -> None:
        assert plan.resampling is not None
        self._plan = plan
        self._resampling: Resampling = plan.resampling
        self._rows = rows
        self._image = image
        self._blocks = JoinedBlocks(plan, directory)
        self._held: Lines | None = None

    def bands(self) -> Iterator[Band]:
        """Every band, in raster order.

        Raises:
            InputError: The image cannot be opened any more.
        """
        for low, high, lines, own in self.boxes():
            yield self._band(low, high, lines, own)

    def boxes(self) -> Iterator[tuple[Index, Index, Lines, npt.NDArray[np.uint8]]]:
        """First pixel and end of every band, the lines of the lattice around it, and its own pixels' status."""
        image = self._image()
        try:
            for low, high in band_boxes(self._plan, rows=self._rows):
                self._held = self._lines(*self._resampling.needed(low, high))
                yield low, high, self._held, own_status(image, low, high)
        finally:
            self._held = None
            image.close()

    def failures(self) -> list[TileFailure]:
        """See :class:`tasks.stitching.stitch.Stitching`."""
        return self._blocks.failures()

    def _band(self, low: Index, high: Index, lines: Lines, own: npt.NDArray[np.uint8]) -> Band:
        known = codes_of(self._plan.card)
        codes = np.empty(own.shape, known.dtype)
        confidence = np.empty(own.shape, np.uint8)
        z, y, x = self.places(low, high, lines.low)
        # A band holds one entry of the axes before the last three.
        volume, box = (1, *own.shape)[-3:], (1, *lines.status.shape)[-3:]
        classify(
            lines.shares.reshape(-1, *box),
            lines.status.reshape(box),
            z,
            y,
            x,
            own.reshape(volume),
            np.array(known.classes, np.uint16),
            known.of_status(),
            codes.reshape(volume),
            confidence.reshape(volume),
        )
        return finished_band(self._plan, low, high, codes, confidence)

    def places(
        self, low: Index, high: Index, first: Index
    ) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Along ``z, y, x``: where pixels of a band lie in lines of the lattice."""
        found = []
        for d in range(max(0, len(low) - 3), len(low)):
            before, share = self._resampling.places(d, low[d], high[d])
            found.append((before - first[d], share))
        line = np.zeros(1, np.int64)
        return [(line, line)] * (3 - len(found)) + found

    def _lines(self, low: Index, high: Index) -> Lines:
        """A box of the lattice; what the last band had of it is not read again."""
        held, self._held = self._held, None
        q = self._plan.quantisation
        shape = [h - a for a, h in zip(low, high, strict=True)]
        cut = max(0, len(low) - 3)
        start = low[cut]
        kept: tuple[npt.NDArray[Any], npt.NDArray[np.uint8]] | None = None
        lead = (slice(None),) * cut
        if held is not None and held.low[:cut] == low[:cut] and low[cut] < held.high[cut] <= high[cut]:
            part = (*lead, slice(low[cut] - held.low[cut], None))
            kept = held.shares[(slice(None), *part)].copy(), held.status[part].copy()
            start = held.high[cut]
        del held  # gone before the next ones are there
        shares = np.empty((q.planes, *shape), np.int16 if q.planes == 1 else np.uint16)
        status = np.empty(shape, np.uint8)
        if kept is not None:
            part = (*lead, slice(0, start - low[cut]))
            shares[(slice(None), *part)], status[part] = kept
        rest = (*low[:cut], start, *low[cut + 1 :])
        at = (*lead, slice(start - low[cut], None))
        self._blocks.shares(rest, high, shares[(slice(None), *at)], status[at])
        return Lines(low, high, shares, status)


def own_status(image: Image, low: Index, high: Index) -> npt.NDArray[np.uint8]:
    """What an image itself says of a box: pixels with data, without, hidden, and those that cannot be read (*failed*)."""
    status = np.full([h - a for a, h in zip(low, high, strict=True)], FAILED, np.uint8)
    errors: list[InputError] = []
    window = tuple(slice(a, h) for a, h in zip(low, high, strict=True))
    for part, pixels in readable_parts(image, window, errors):
        at = tuple(slice(p.start - a, p.stop - a) for p, a in zip(part, low, strict=True))
        status[at] = np.where(pixels.valid, PREDICTED, NODATA)
        if pixels.unobserved is not None:
            status[at][pixels.unobserved] = UNOBSERVED
    return status
