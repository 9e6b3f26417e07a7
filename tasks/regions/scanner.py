"""Streaming connected components over bands of a mask, with figures per region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.imagery.protocol import Window
from tasks.regions.labeller import (
    BORDER,
    CODE,
    CONFIDENCE,
    FIRST,
    INTS,
    PIXELS,
    X0,
    X1,
    Y0,
    Y1,
    Z0,
    Z1,
    Labeller,
    PixelSizes,
)  # fmt: skip


@dataclass(frozen=True)
class Regions:
    """Finished regions, ordered by class code, then by smallest raster index; ids start at 1.

    Attributes:
        code: ``(n,)``.
        pixels: ``(n,)``.
        first: ``(n,)`` smallest raster index.
        frame: ``(n,)`` index along ``t``, 0 without one.
        low: ``(n, 3)`` bounding box, ``z, y, x``.
        high: ``(n, 3)`` half-open; x may exceed the width where the image wraps.
        centroid: ``(n, 3)`` in pixel-centre coordinates.
        size: ``(n,)`` true size.
        confidence: ``(n,)`` mean, 0…1.
        border: ``(n,)`` whether it touches the image's border.
        means: ``(n, channels)``.
        code_pixels: Pixels by code, whole image.
        code_sizes: True sizes by code.
        probes: Id of the region at each probe, 0 where none lies there.
    """

    code: npt.NDArray[np.int64]
    pixels: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    frame: npt.NDArray[np.int64]
    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]
    centroid: npt.NDArray[np.float64]
    size: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64]
    border: npt.NDArray[np.bool_]
    means: npt.NDArray[np.float64]
    code_pixels: npt.NDArray[np.int64]
    code_sizes: npt.NDArray[np.float64]
    probes: npt.NDArray[np.int64]


class RegionScanner:
    """Takes a mask's bands in raster order, then gives its regions.

    Args:
        shape: Of the image: ``(y, x)``, ``(z, y, x)`` or ``(t, z, y, x)``. Frames are
            never connected to one another.
        channels: Values per pixel to average.
        region_codes: Codes whose components are regions.
        full: Whether pixels that share only a corner (or an edge, in 3-D) are connected.
        wraps: Whether the first and last columns of a 2-D image are neighbours.
        sizes: True pixel sizes.
        probes: Pixels ``(row, column)`` of a 2-D image whose region is wanted.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        channels: int,
        region_codes: tuple[int, ...],
        full: bool,
        wraps: bool,
        sizes: PixelSizes,
        probes: tuple[tuple[int, int], ...] = (),
    ) -> None:
        self._shape, self._wraps = shape, wraps
        self._labeller = Labeller(
            shape, codes=region_codes, channels=channels, full=full, wraps=wraps, sizes=sizes
        )
        self._probes = sorted((r, c, i) for i, (r, c) in enumerate(probes))
        self._probe_labels = np.full(len(probes), -1, np.int64)

    def feed(
        self,
        window: Window,
        codes: npt.NDArray[Any],
        confidence: npt.NDArray[np.uint8],
        values: npt.NDArray[Any],
    ) -> None:
        """Adds the next band.

        Args:
            window: Full lines, following the band before.
            codes: ``(*window)``.
            confidence: ``(*window)``.
            values: ``(*window, channels)``; not read outside regions.

        Raises:
            ValueError: Bands out of order.
        """
        labeller = self._labeller
        shape = (-1, *labeller.slice_shape)
        start = window[-3].start if len(self._shape) > 2 else window[0].start
        frame = window[0].start if len(self._shape) == 4 else 0
        if frame * labeller.slices + start != labeller.seen:
            raise ValueError(f"bands out of order: expected slice {labeller.seen}, got {window}")
        codes = codes.reshape(shape)
        values = values.reshape(*codes.shape, values.shape[-1])  # of no channels, no size can be inferred
        for z, runs, _ in labeller.feed(codes, confidence.reshape(shape), values):
            while self._probes and labeller.flat and self._probes[0][0] == z:
                _, column, i = self._probes.pop(0)
                hit = np.flatnonzero((runs[:, 0] <= column) & (column < runs[:, 1]))
                if hit.size:
                    self._probe_labels[i] = runs[hit[0], 3]

    def finish(self) -> Regions:
        """Merges labels into regions and orders them."""
        labeller = self._labeller
        n = labeller.labels
        order, member = np.unique(labeller.roots(wrapped=False), return_inverse=True)
        ints = np.zeros((order.size, INTS), np.int64)
        ints[:, [FIRST, Z0, Y0, X0]] = np.iinfo(np.int64).max
        source = labeller.ints[:n]
        ints[member, CODE] = source[:, CODE]
        for c in (PIXELS, CONFIDENCE):
            np.add.at(ints[:, c], member, source[:, c])
        for c in (FIRST, Z0, Y0, X0):
            np.minimum.at(ints[:, c], member, source[:, c])
        for c in (Z1, Y1, X1, BORDER):
            np.maximum.at(ints[:, c], member, source[:, c])
        floats = np.zeros((order.size, labeller.floats.shape[1]))
        np.add.at(floats, member, labeller.floats[:n])
        frame = np.searchsorted(labeller.frame_starts, order, side="right") - 1
        probes = np.where(self._probe_labels >= 0, member[self._probe_labels] if n else -1, -1)
        if self._wraps and order.size:
            ints, floats, frame, probes = self._merge_ends(ints, floats, frame, probes, member)
        return self._ordered(ints, floats, frame, probes)

    def _merge_ends(
        self,
        ints: npt.NDArray[np.int64],
        floats: npt.NDArray[np.float64],
        frame: npt.NDArray[np.int64],
        probes: npt.NDArray[np.int64],
        member: npt.NDArray[np.int64],
    ) -> tuple[npt.NDArray[Any], ...]:
        """Joins components whose ends meet across the seam of a wrapping image."""
        parent = np.arange(ints.shape[0])

        def find(a: int) -> int:
            while parent[a] != a:
                parent[a] = parent[parent[a]]
                a = int(parent[a])
            return a

        for left, right in self._labeller.meetings():
            a, b = find(int(member[left])), find(int(member[right]))
            parent[max(a, b)] = min(a, b)
        roots = _roots(parent)
        joined = np.isin(roots, roots[roots != np.arange(roots.size)])
        members = np.flatnonzero(joined)
        members = members[np.argsort(roots[members], kind="stable")]
        starts = np.flatnonzero(np.diff(roots[members])) + 1
        for group in np.split(members, starts) if members.size else ():
            root = roots[group[0]]
            shift, low, high = _circular_extent(ints[group, X0], ints[group, X1], self._shape[-1])
            floats[group, 3] += shift * ints[group, PIXELS]
            ints[root, X0], ints[root, X1] = low, high
            rest = group[group != root]
            ints[root, [PIXELS, CONFIDENCE]] += ints[rest][:, [PIXELS, CONFIDENCE]].sum(axis=0)
            ints[root, FIRST] = ints[group, FIRST].min()
            ints[root, Z0], ints[root, Z1] = ints[group, Z0].min(), ints[group, Z1].max()
            ints[root, BORDER] = ints[group, BORDER].max()
            floats[root] += floats[rest].sum(axis=0)
        keep = np.flatnonzero(roots == np.arange(roots.size))
        position = np.searchsorted(keep, roots)
        probes = np.where(probes >= 0, position[probes], -1)
        return ints[keep], floats[keep], frame[keep], probes

    def _ordered(
        self,
        ints: npt.NDArray[np.int64],
        floats: npt.NDArray[np.float64],
        frame: npt.NDArray[np.int64],
        probes: npt.NDArray[np.int64],
    ) -> Regions:
        by = np.lexsort((ints[:, FIRST], ints[:, CODE]))
        rank = np.empty(by.size + 1, np.int64)
        rank[by] = np.arange(1, by.size + 1)
        rank[-1] = 0
        ints, floats = ints[by], floats[by]
        count = np.maximum(ints[:, PIXELS], 1)[:, None]
        low, high, centroid = ints[:, [Z0, Y0, X0]], ints[:, [Z1, Y1, X1]], floats[:, 1:4] / count
        if self._wraps:
            centroid[:, 2] = np.mod(centroid[:, 2] + 0.5, self._shape[-1]) - 0.5
        if len(self._shape) == 2:
            # A 2-D image is scanned as slices of one line each: its rows are the slices.
            low = np.column_stack([np.zeros(by.size, np.int64), low[:, 0], low[:, 2]])
            high = np.column_stack([np.ones(by.size, np.int64), high[:, 0], high[:, 2]])
            centroid = np.column_stack([np.zeros(by.size), centroid[:, 0], centroid[:, 2]])
        return Regions(
            code=ints[:, CODE],
            pixels=ints[:, PIXELS],
            first=ints[:, FIRST],
            frame=frame[by],
            low=low,
            high=high,
            centroid=centroid,
            size=floats[:, 0],
            confidence=ints[:, CONFIDENCE] / count[:, 0] / 255.0,
            border=ints[:, BORDER] > 0,
            means=floats[:, 4:] / count,
            code_pixels=self._labeller.code_pixels,
            code_sizes=self._labeller.code_sizes,
            probes=rank[probes],
        )


def _roots(parent: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Resolves every label to its root; a parent is never larger than its child."""
    roots = parent.copy()
    while True:
        further = roots[roots]
        if np.array_equal(further, roots):
            return roots
        roots = further


def _circular_extent(
    low: npt.NDArray[np.int64], high: npt.NDArray[np.int64], width: int
) -> tuple[npt.NDArray[np.int64], int, int]:
    """The shortest arc of a circle that holds all intervals.

    Returns:
        What to add to each interval's coordinates, and the arc ``[low, high)``; high may
        exceed the width.
    """
    order = np.argsort(low, kind="stable")
    reach, gaps = int(high[order[0]]), []
    for i in order[1:]:
        gaps.append((int(low[i]) - reach, int(low[i])))
        reach = max(reach, int(high[i]))
    gaps.append((int(low[order[0]]) + width - reach, int(low[order[0]]) + width))
    widest, begin = max(gaps, key=lambda g: g[0])
    if widest <= 0:
        return np.zeros(low.size, np.int64), 0, width
    begin %= width
    shift = np.where(low >= begin, 0, width)
    return shift, begin, int((high + shift).max())
