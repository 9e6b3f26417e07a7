"""Connected components of bands, labelled twice alike: first measured, then repainted.

What was decided of a component between the two is looked up by the label that both scans give it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.compiled import compiled
from tasks.regions.labeller import BORDER, CODE, CONFIDENCE, FIRST, PIXELS, Labeller, PixelSizes


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
        self._labeller = Labeller(shape, codes=codes, full=full, wraps=wraps, sizes=sizes)
        self._wraps = wraps

    def rewind(self) -> None:
        """Begins again at the first line; labels will be handed out as before."""
        self._labeller.rewind()

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
        marks = np.zeros(codes.shape, np.uint8) if marked is None else marked.astype(np.uint8)
        none = np.zeros((*codes.shape, 0), np.uint8)
        for i, (_, runs, lines) in enumerate(self._labeller.feed(codes, marks, none)):
            if paint is not None and target is not None:
                _paint(runs, lines, paint, target[i])

    def table(self) -> Table:
        """What the lines so far hold."""
        labeller = self._labeller
        roots, member = np.unique(labeller.roots(wrapped=self._wraps), return_inverse=True)
        ints, size = labeller.ints[: labeller.labels], np.zeros(roots.size)
        np.add.at(size, member, labeller.floats[: labeller.labels, 0])
        summed = {c: np.zeros(roots.size, np.int64) for c in (PIXELS, CONFIDENCE, BORDER)}
        for column, total in summed.items():
            np.add.at(total, member, ints[:, column])
        first = np.full(roots.size, np.iinfo(np.int64).max)
        np.minimum.at(first, member, ints[:, FIRST])
        frame = np.searchsorted(labeller.frame_starts, roots, side="right") - 1
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


@compiled()
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
