"""Making the next thing while the present one is used."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def one_ahead(things: Iterator[T]) -> Iterator[T]:
    """Yields ``things`` in order, each made by a thread while the one before is in use.

    At most two exist at once. What making raises is raised here, in its place; if the
    consumer stops early, the thing being made is waited for and dropped.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        coming = pool.submit(next, things, None)
        while (thing := coming.result()) is not None:
            coming = pool.submit(next, things, None)
            yield thing
