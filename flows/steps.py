"""Steps of trainings and evaluations as task runs, in the process that holds the network and the files."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE

T = TypeVar("T")


def as_task(name: str, step: Callable[[], T]) -> T:
    """Runs a step as a task run of the surrounding flow run; it takes nothing that a server would have to read."""

    def run() -> T:
        return step()

    result: T = task(name=name, cache_policy=NO_CACHE, persist_result=False)(run)()
    return result
