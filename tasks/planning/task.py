"""The Prefect face of this step: small arguments in, a small answer out."""

from collections.abc import Callable
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.planning.request import Request
from tasks.planning.step import Planned
from tasks.privacy.hiding import guarded


def plan_item_task(plan: Callable[[Request], Planned]) -> Any:
    """The task of a plan, made wherever ``plan`` makes it and waits for it."""

    def plan_item(request: Request) -> Planned:
        return plan(request)

    return task(name="plan", cache_policy=NO_CACHE, persist_result=False)(guarded(plan_item))
