"""The Prefect face of this step: small arguments in, a small answer out."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.privacy.hiding import guarded
from tasks.regions.step import measure_item

measure_item_task = task(name="regions", cache_policy=NO_CACHE, persist_result=False)(guarded(measure_item))
