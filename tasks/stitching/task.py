"""The Prefect face of this step: small arguments in, a small answer out."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.privacy.hiding import guarded
from tasks.stitching.step import stitch_item

stitch_item_task = task(name="stitch", cache_policy=NO_CACHE, persist_result=False)(guarded(stitch_item))
