"""The Prefect face of this step: small arguments in, a small answer out."""

from collections.abc import Callable
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.blocks.segment import BlockOutcome
from tasks.privacy.hiding import guarded
from tasks.work import WorkFolder


def segment_block_task(segment: Callable[[WorkFolder, int], BlockOutcome]) -> Any:
    """The task of a block, computed wherever ``segment`` computes it and waits for it."""

    def segment_block(work: WorkFolder, number: int) -> BlockOutcome:
        return segment(work, number)

    return task(name="segment-block", cache_policy=NO_CACHE, persist_result=False)(guarded(segment_block))
