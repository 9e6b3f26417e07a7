"""The Prefect face of this step: small arguments in, a small answer out."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.blocks.step import run_block

run_block_task = task(name="segment-block", cache_policy=NO_CACHE, persist_result=False)(run_block)
