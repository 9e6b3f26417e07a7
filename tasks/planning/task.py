"""The Prefect face of this step: small arguments in, a small answer out."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.planning.step import plan_item

plan_item_task = task(name="plan", cache_policy=NO_CACHE, persist_result=False)(plan_item)
