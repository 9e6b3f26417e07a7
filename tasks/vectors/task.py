"""The Prefect face of this step: small arguments in, a small answer out."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.vectors.step import add_vectors, vectorise_item

vectorise_item_task = task(name="vectors", cache_policy=NO_CACHE, persist_result=False)(vectorise_item)
add_vectors_task = task(name="vectors", cache_policy=NO_CACHE, persist_result=False)(add_vectors)
