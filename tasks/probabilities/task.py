"""The Prefect face of this step: small arguments in, a small answer out."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.probabilities.step import probabilities_item

probabilities_item_task = task(name="probabilities", cache_policy=NO_CACHE, persist_result=False)(
    probabilities_item
)
