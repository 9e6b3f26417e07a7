"""Batches made in threads while the model computes, always the same ones in the same order.

Tiles are drawn one after the other by a single thread, so that the source's state decides them; what
augmentation does to tile ``n`` depends on the seed and ``n`` alone. So neither the number of threads nor an
interruption changes a batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from segmodels.training.augment import Step

Array = npt.NDArray[Any]


class Source(Protocol):
    """Where training tiles come from: an endless, repeatable sequence."""

    def draw(self) -> tuple[Array, Array]:
        """The next tile: normalised ``(*patch, channels)`` and its labels ``(*patch)``."""
        ...

    def skip(self, n: int) -> None:
        """Goes on as if ``n`` tiles had been drawn."""
        ...


class Batches:
    """An endless iterator over ``(images, labels)``, float32 and int16, ``ahead`` batches prepared.

    Args:
        source: Standing where the first tile is to come from.
        batch: Tiles a batch.
        augment: Joint augmentation of a tile and its labels.
        seed: Of the augmentation.
        first: Number of the first tile, for the augmentation.
        drawing: The single thread that draws.
        augmenting: Threads that augment.
        ahead: Batches in preparation.
    """

    def __init__(
        self,
        source: Source,
        *,
        batch: int,
        augment: Step | None,
        seed: int,
        first: int,
        drawing: ThreadPoolExecutor,
        augmenting: ThreadPoolExecutor,
        ahead: int,
    ) -> None:
        self._source, self._batch, self._augment, self._seed = source, batch, augment, seed
        self._next = first
        self._drawing, self._augmenting = drawing, augmenting
        self._waiting: deque[Future[list[Future[tuple[Array, Array]]]]] = deque()
        for _ in range(ahead):
            self._order()

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        return self

    def __next__(self) -> tuple[Array, Array]:
        tiles = [tile.result() for tile in self._waiting.popleft().result()]
        self._order()
        images, labels = zip(*tiles, strict=True)
        return np.stack(images), np.stack(labels)

    def _order(self) -> None:
        numbers = range(self._next, self._next + self._batch)
        self._next = numbers.stop
        self._waiting.append(self._drawing.submit(self._draw, numbers))

    def _draw(self, numbers: range) -> list[Future[tuple[Array, Array]]]:
        return [self._augmenting.submit(self._finish, n, *self._source.draw()) for n in numbers]

    def _finish(self, number: int, image: Array, labels: Array) -> tuple[Array, Array]:
        image, labels = np.array(image, np.float32), np.array(labels, np.int16)
        if self._augment is not None:
            image, labels = self._augment(image, labels, np.random.default_rng([self._seed, number]))
        return np.ascontiguousarray(image, np.float32), np.ascontiguousarray(labels, np.int16)


@contextmanager
def prefetched(
    source: Source,
    *,
    batch: int,
    augment: Step | None = None,
    seed: int = 0,
    done: int = 0,
    threads: int = 2,
    ahead: int = 3,
) -> Iterator[Batches]:
    """Batches for the block; the threads end with it.

    Args:
        source: At its beginning.
        batch: Tiles a batch.
        augment: Joint augmentation of a tile and its labels.
        seed: Of the augmentation.
        done: Batches that an earlier, interrupted training has used.
        threads: That augment.
        ahead: Batches prepared while the model computes.
    """
    if done:
        source.skip(done * batch)
    drawing = ThreadPoolExecutor(1, thread_name_prefix="draw")
    augmenting = ThreadPoolExecutor(threads, thread_name_prefix="augment")
    try:
        yield Batches(
            source,
            batch=batch,
            augment=augment,
            seed=seed,
            first=done * batch,
            drawing=drawing,
            augmenting=augmenting,
            ahead=ahead,
        )
    finally:
        drawing.shutdown(wait=True, cancel_futures=True)
        augmenting.shutdown(wait=True, cancel_futures=True)
