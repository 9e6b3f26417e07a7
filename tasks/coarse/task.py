"""The Prefect face of this step: small arguments in, a small answer out."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.coarse.step import locate_region
from tasks.privacy.hiding import guarded

locate_region_task = task(name="locate-region", cache_policy=NO_CACHE, persist_result=False)(
    guarded(locate_region)
)
