"""Traces a mask's bands: rings go to a file as they close, what must be known of every region stays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from tasks.compiled import compiled
from tasks.errors import OutputError
from tasks.files import writing
from tasks.vectors import kernel
from tasks.vectors.labels import START, unite
from tasks.vectors.sizes import LineSizes, plain_sizes

_I32 = npt.NDArray[np.int32]
_I64 = npt.NDArray[np.int64]
_LABELS = 1 << 16
#: Labels and vertices are numbered in 32 bits.
_MOST = (1 << 31) - 1


@dataclass(frozen=True)
class Traced:
    """A traced mask. Regions are ordered by code, then by first pixel in raster order; ids count from 1.

    Attributes:
        code: ``(regions,)``.
        pixels: ``(regions,)``.
        size: ``(regions,)`` true size.
        region: ``(rings,)`` index of the region, ascending; its pieces follow one another, each as its outer
            ring and its holes.
        outer: ``(rings,)`` whether a ring is the outer one of a piece.
        offset: ``(rings,)`` first vertex of the ring in ``file``.
        length: ``(rings,)`` vertices, not repeating the first.
        file: int32 pairs: column (twice, plus 1 at a junction) and line of pixel corners.
        code_pixels: Pixels by code, of all codes.
    """

    code: _I64
    pixels: _I64
    size: npt.NDArray[np.float64]
    region: _I32
    outer: npt.NDArray[np.bool_]
    offset: _I64
    length: _I32
    file: Path
    code_pixels: _I64


class Tracer:
    """Takes a mask's full lines from the top.

    Args:
        width: Columns.
        codes: Whose regions are wanted.
        full: Whether pixels that share only a corner are connected.
        wraps: Whether the first and last columns are neighbours.
        noded: Whether junctions of three or more codes are vertices of every ring through them.
        file: Where vertices of closed rings are kept; the caller removes it.
    """

    def __init__(
        self, width: int, *, codes: tuple[int, ...], full: bool, wraps: bool, noded: bool, file: Path
    ) -> None:
        self._width, self._full, self._wraps, self._noded = width, full, wraps, noded
        self._wanted = np.zeros(1 << 16, np.bool_)
        self._wanted[list(codes)] = True
        self._lines = np.zeros((2, 5, width + 4), np.int32)
        self._lines[0, :3, 0] = -1
        self._lines[0, START, 1] = width + 1
        self._state = np.zeros(5, np.int64)
        self._parent = np.zeros(0, np.int32)
        self._regions = np.zeros(0, np.int32)
        self._code_of = np.zeros(0, np.int32)
        self._pixels = np.zeros(0, np.int64)
        self._enclosed = np.zeros(0, np.int64)
        self._sizes = np.zeros(0)
        self._code_pixels = np.zeros(1 << 16, np.int64)
        self._nodes = np.zeros((6, 0), np.int32)
        self._free = np.zeros(0, np.int32)
        self._rings: list[_I32] = []
        self._seen = 0
        self._file = file
        with writing(file):
            self._stream: BinaryIO = file.open("wb")
        self._grow_labels(max(_LABELS, width + 1))
        self._grow_nodes(16 * (width + 1))

    def feed(self, codes: npt.NDArray[Any], sizes: LineSizes | None = None, *, last: bool) -> None:
        """Adds the next lines.

        Args:
            codes: ``(lines, width)``, uint8 or uint16.
            sizes: True sizes of their pixels; 1 each by default.
            last: Whether the mask ends with them.

        Raises:
            OutputError: The file of vertices cannot be written, or the mask holds more than can be numbered.
        """
        codes = np.ascontiguousarray(codes)
        sizes = plain_sizes(len(codes), self._width) if sizes is None else sizes
        done, total = 0, len(codes) + int(last)
        while done < total:
            some = kernel.trace_lines(
                codes[done:],
                self._seen + done,
                last,
                self._wanted,
                self._full,
                self._wraps,
                self._noded,
                self._lines,
                self._parent,
                self._regions,
                self._code_of,
                self._pixels,
                self._enclosed,
                self._sizes,
                sizes.sums,
                sizes.above[done:],
                sizes.part[done:],
                sizes.scale[done:],
                self._code_pixels,
                self._nodes,
                self._free,
                self._stack,
                self._vertices,
                self._closed,
                self._state,
            )
            done += some
            if not some:
                self._make_room()
        self._seen += len(codes)

    def abort(self) -> None:
        """Closes and removes the file of vertices."""
        self._stream.close()
        self._file.unlink(missing_ok=True)

    def finish(self) -> Traced:
        """Merges labels into regions and puts rings in their order."""
        self._flush()
        with writing(self._file):
            self._stream.close()
        n = int(self._state[kernel.LABELS])
        open_ = self._free.size - int(self._state[kernel.FREE])
        if open_:
            raise RuntimeError(f"{open_} vertices of {self._file.name} were left open")
        del self._nodes, self._vertices, self._closed, self._stack
        piece, region = self._parent[:n], self._regions[:n]
        _resolve(piece)
        _merge(region, piece)
        # Labels are handed out in raster order and the smallest stands for all: its first pixel is theirs.
        roots = np.flatnonzero(region == np.arange(n, dtype=np.int32))
        order = roots[np.argsort(self._code_of[roots], kind="stable")]
        rank = np.zeros(n, np.int32)
        rank[order] = np.arange(order.size, dtype=np.int32)
        rank = rank[region]
        pixels = _sums(rank, self._pixels[:n], order.size)
        _check_areas(_sums(rank, self._enclosed[:n], order.size), pixels)
        size = np.asarray(np.bincount(rank, self._sizes[:n], minlength=order.size), np.float64)
        code = self._code_of[order].astype(np.int64)
        del self._regions, self._pixels, self._enclosed, self._code_of, self._sizes
        rings = np.concatenate(self._rings) if self._rings else np.zeros((0, 2), np.int32)
        self._rings = []
        label, length = piece[rings[:, 0]], np.abs(rings[:, 1])
        outer = rings[:, 1] > 0
        # By region, then by piece, the outer ring first.
        by = np.lexsort((~outer, label, rank[label]))
        offset = np.cumsum(length, dtype=np.int64)
        offset -= length
        return Traced(
            code=code,
            pixels=pixels,
            size=size,
            region=rank[label[by]],
            outer=outer[by],
            offset=offset[by],
            length=length[by],
            file=self._file,
            code_pixels=self._code_pixels,
        )

    def _make_room(self) -> None:
        """Whatever one more line may need."""
        state, most = self._state, 4 * (self._width + 1)
        self._flush()
        if state[kernel.LABELS] + self._width > self._parent.size:
            self._grow_labels(int(state[kernel.LABELS]) + self._width)
        if state[kernel.FREE] < most:
            self._grow_nodes(self._free.size - int(state[kernel.FREE]) + most)

    def _flush(self) -> None:
        state = self._state
        with writing(self._file):
            self._stream.write(self._vertices[: state[kernel.VERTICES]].tobytes())
        if state[kernel.RINGS]:
            self._rings.append(self._closed[: state[kernel.RINGS]].copy())
        state[kernel.VERTICES] = state[kernel.RINGS] = 0

    def _grow_labels(self, needed: int) -> None:
        size = max(needed, self._parent.size * 3 // 2)
        if size > _MOST:
            raise OutputError(
                f"{self._file} would take more than {_MOST} labels: the mask is noise, not regions"
            )
        for name in ("_parent", "_regions", "_code_of", "_pixels", "_enclosed", "_sizes"):
            old = getattr(self, name)
            new = np.zeros(size, old.dtype)
            new[: old.size] = old
            setattr(self, name, new)

    def _grow_nodes(self, needed: int) -> None:
        """Room for more vertices of open chains; called with an empty buffer of closed ones."""
        have, size = self._free.size, max(needed, self._free.size * 3 // 2)
        if size > _MOST // 2:
            raise OutputError(
                f"{self._file} would hold more than {_MOST // 2} vertices of open rings at once"
            )
        nodes = np.zeros((6, size), np.int32)
        nodes[:, :have] = self._nodes
        free = np.zeros(size, np.int32)
        unused = int(self._state[kernel.FREE])
        free[:unused] = self._free[:unused]
        free[unused : unused + size - have] = np.arange(have, size, dtype=np.int32)
        self._state[kernel.FREE] = unused + size - have
        self._nodes, self._free = nodes, free
        self._stack: _I32 = np.zeros(size, np.int32)
        self._vertices = np.zeros((2 * size, 2), np.int32)
        self._closed = np.zeros((size, 2), np.int32)


def _sums(rank: npt.NDArray[np.int32], values: _I64, count: int) -> _I64:
    """Exact sums of integers by rank."""
    out = np.zeros(count, np.int64)
    np.add.at(out, rank, values)
    return out


def _check_areas(enclosed: _I64, pixels: _I64) -> None:
    """What the rings of a region enclose is what its pixels cover, exactly."""
    wrong = np.flatnonzero(enclosed != 2 * pixels)
    if wrong.size:
        i = int(wrong[0])
        raise RuntimeError(
            f"polygons do not cover the mask: {wrong.size} regions differ, the first encloses {enclosed[i] / 2} "
            f"pixels and has {pixels[i]}"
        )


@compiled()
def _resolve(parent: npt.NDArray[np.int32]) -> None:
    for i in range(parent.size):
        parent[i] = parent[parent[i]]


@compiled()
def _merge(region: npt.NDArray[np.int32], piece: npt.NDArray[np.int32]) -> None:
    """Adds what ``piece`` joins to the sets of ``region``, then gives every label its root."""
    for i in range(region.size):
        if piece[i] != i:
            unite(region, i, piece[i])
    for i in range(region.size):
        region[i] = region[region[i]]
