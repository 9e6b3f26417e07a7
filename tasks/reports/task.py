"""The Prefect face of this step: small arguments in, a small answer out."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.privacy.hiding import guarded
from tasks.reports.step import report_item

report_item_task = task(name="report", cache_policy=NO_CACHE, persist_result=False)(guarded(report_item))
