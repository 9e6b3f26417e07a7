"""Counting a pair of masks by windows, several at once: no raster is ever in memory."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from segmodels.metrics import ConfusionMatrix
from tasks.errors import InputError
from tasks.evaluation.sources import Codes
from tasks.imagery.protocol import Window

T = TypeVar("T")

#: Pixels of a window, if the storage's blocks allow it.
WINDOW_PIXELS = 1 << 21
MOST_THREADS = 8


def default_threads() -> int:
    """As many as the process may use, up to a few: decoding is most of the work."""
    return min(MOST_THREADS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)


def windows(shape: Sequence[int], chunk: Sequence[int], *, pixels: int = WINDOW_PIXELS) -> list[Window]:
    """Covers a grid with windows of whole storage blocks, in raster order.

    A window takes as many blocks along the fastest axis as fit, then along the next.
    """
    size = [min(c, n) for c, n in zip(chunk, shape, strict=True)]
    for axis in reversed(range(len(size))):
        others = math.prod(size) // size[axis]
        blocks = max(1, pixels // (others * size[axis]))
        size[axis] = min(shape[axis], blocks * size[axis])
    ranges = (
        [slice(a, min(a + step, n)) for a in range(0, n, step)] for n, step in zip(shape, size, strict=True)
    )
    return list(itertools.product(*ranges))


def common_chunk(first: Codes, second: Codes) -> tuple[int, ...]:
    """Blocks of both files at once: the larger of the two along each axis."""
    return tuple(max(a, b) for a, b in zip(first.chunk, second.chunk, strict=True))


def in_threads(work: Callable[[Window], T], wanted: Sequence[Window], *, threads: int) -> Iterator[T]:
    """Results in order; few windows are begun before their turn, so that results do not pile up."""
    if threads == 1 or len(wanted) == 1:
        yield from map(work, wanted)
        return
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(wanted), 8 * threads):
            yield from pool.map(work, wanted[first : first + 8 * threads])


def count_pair(truth: Codes, prediction: Codes, empty: ConfusionMatrix, *, threads: int) -> ConfusionMatrix:
    """Counts every pixel of two masks on one grid.

    Args:
        truth: What is right.
        prediction: What is scored.
        empty: A matrix of the classes, labels to ignore and codes of missing pixels wanted.
        threads: Windows at once.

    Raises:
        InputError: A file is damaged, or the truth holds a code that is not among the classes.
    """

    def one(window: Window) -> ConfusionMatrix:
        matrix = empty + empty
        try:
            return matrix.update(truth.read(window), prediction.read(window))
        except ValueError as error:
            raise InputError(
                f"{truth.name}: {error}; name its classes with --classes, or --ignore them"
            ) from error

    wanted = windows(truth.shape, common_chunk(truth, prediction))
    total = empty + empty
    for matrix in in_threads(one, wanted, threads=threads):
        total = total + matrix
    return total
