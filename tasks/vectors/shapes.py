"""Traced rings as groups of regions that fit memory: points on the map, ready to be written."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.compiled import compiled
from tasks.vectors.simplify import Simplifier
from tasks.vectors.tracer import Traced

#: Vertices and regions that are held at once; a region of more vertices is held alone.
VERTICES, REGIONS = 1 << 19, 1 << 16


@dataclass(frozen=True)
class Shapes:
    """Consecutive regions with their rings, outer rings counter-clockwise on the map.

    Attributes:
        regions: ``(n,)`` indices into the traced regions.
        first: ``(n + 1,)`` first ring of each region.
        outer: ``(rings,)``.
        ends: ``(rings + 1,)`` first point of each ring; the last point repeats the first.
        points: ``(points, 2)`` x, y.
    """

    regions: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    outer: npt.NDArray[np.bool_]
    ends: npt.NDArray[np.int64]
    points: npt.NDArray[np.float64]


def shapes(
    traced: Traced,
    *,
    transform: tuple[float, ...],
    keep: npt.NDArray[np.bool_],
    simplifier: Simplifier | None = None,
) -> Iterator[Shapes]:
    """Groups of regions in the order of their ids.

    Args:
        traced: The mask's rings.
        transform: From pixel corners to the map, GDAL's affine order a b c d e f.
        keep: ``(regions,)`` which are wanted.
        simplifier: Takes vertices away; None leaves every pixel's edge.
    """
    a, b, c, d, e, f = transform[:6]
    for regions, rings, pixels, lengths in corners(traced, keep=keep):
        if simplifier is not None:
            pixels, lengths = simplifier.take(pixels, lengths)
        points = closed(pixels, lengths, (a, b, c, d, e, f))
        ends = np.concatenate([[0], np.cumsum(lengths.astype(np.int64) + 1)])
        first = np.searchsorted(traced.region[rings], np.append(regions, np.iinfo(np.int32).max))
        yield Shapes(regions, first.astype(np.int64), traced.outer[rings], ends, points)


def corners(
    traced: Traced, *, keep: npt.NDArray[np.bool_]
) -> Iterator[
    tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int32]]
]:
    """Groups as indices of their regions and rings, vertices as traced, and vertices per ring."""
    wanted = np.flatnonzero(keep)
    if not wanted.size:
        return
    starts = np.searchsorted(traced.region, np.arange(traced.code.size + 1))
    weight = np.add.reduceat(traced.length, starts[:-1], dtype=np.int64)
    with traced.file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as held:
        every = np.frombuffer(held, np.int32).reshape(-1, 2)
        try:
            at = 0
            while at < wanted.size:
                count = np.cumsum(weight[wanted[at : at + REGIONS]])
                stop = at + max(1, int(np.searchsorted(count, VERTICES, side="right")))
                regions = wanted[at:stop]
                rings = _spans(starts[regions], starts[regions + 1])
                lengths = traced.length[rings]
                yield regions, rings, _gather(every, traced.offset[rings], lengths), lengths
                # Mapped pages would count as this process's memory; the page cache keeps them.
                if hasattr(mmap, "MADV_DONTNEED"):
                    held.madvise(mmap.MADV_DONTNEED)
                at = stop
        finally:
            del every


@compiled()
def _spans(first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """All numbers of ``first[i] … last[i] - 1``, one span after the other."""
    out = np.empty((last - first).sum(), np.int64)
    n = 0
    for i in range(first.size):
        for k in range(first[i], last[i]):
            out[n] = k
            n += 1
    return out


@compiled()
def _gather(
    every: npt.NDArray[np.int32], offset: npt.NDArray[np.int64], length: npt.NDArray[np.int32]
) -> npt.NDArray[np.int32]:
    """The vertices of some rings, one after the other."""
    total = np.int64(0)
    for n in length:
        total += n
    out = np.empty((total, 2), np.int32)
    at = 0
    for i in range(offset.size):
        for k in range(offset[i], offset[i] + length[i]):
            out[at, 0], out[at, 1] = every[k, 0], every[k, 1]
            at += 1
    return out


@compiled()
def closed(
    pixels: npt.NDArray[np.int32],
    lengths: npt.NDArray[np.int32],
    transform: tuple[float, float, float, float, float, float],
) -> Any:
    """Rings on the map that end where they begin, turned round where the map's y runs against the lines."""
    a, b, c, d, e, f = transform
    back = a * e - b * d < 0
    out = np.empty((pixels.shape[0] + lengths.size, 2))
    at, n = 0, 0
    for length in lengths:
        for k in range(length + 1):
            i = k % length
            j = at + ((length - i) % length if back else i)
            column, line = np.float64(pixels[j, 0] >> 1), np.float64(pixels[j, 1])
            out[n, 0] = c + a * column + b * line
            out[n, 1] = f + d * column + e * line
            n += 1
        at += length
    return out
