"""The Prefect face of this step: small arguments in, a small answer out."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.postprocess.step import postprocess_item
from tasks.privacy.hiding import guarded

postprocess_item_task = task(name="postprocess", cache_policy=NO_CACHE, persist_result=False)(
    guarded(postprocess_item)
)
