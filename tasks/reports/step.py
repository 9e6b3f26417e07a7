"""The report step: pictures, pages and sidecars from what is stored; no model needed."""

from __future__ import annotations

import json
from typing import Any

import pyarrow.parquet as pq

from tasks.files import writing
from tasks.planning.plan import Plan
from tasks.previews.area import open_seen
from tasks.regions.step import SUMMARY
from tasks.reports.bids import write_bids
from tasks.reports.gis import write_gis
from tasks.reports.html import write_report
from tasks.reports.labels import write_labels
from tasks.reports.segmentation import write_seg
from tasks.reports.stac import write_stac
from tasks.work import WorkFolder


def report_item(work: WorkFolder, record: dict[str, Any]) -> tuple[str, ...]:
    """Writes ``overview.png``, ``report.html`` and ``stac.json`` or ``mask.json`` + ``mask.tsv``; for DICOM ``mask.dcm``.

    Returns:
        Sentences that the record's warnings lack.

    Raises:
        OutputError: They cannot be written.
    """
    plan = Plan.load(work.plan)
    folder = work.result
    summary = json.loads((folder / SUMMARY).read_bytes())
    regions = pq.read_table(folder / "regions.parquet")
    image = open_seen(plan, scratch=work.scratch)
    try:
        left_out = write_seg(plan, image.info, record, work)
        record = {**record, "warnings": [*record["warnings"], *left_out]}
        with writing(folder):
            write_report(folder, record=record, summary=summary, regions=regions, image=image)
            if (folder / "mask.tif").is_file():
                write_gis(folder, record=record, summary=summary)
            if image.info.field == "earth":
                write_stac(folder, record=record, summary=summary, image_info=image.info)
            else:
                write_bids(folder, record=record, summary=summary)
            if (folder / "mask.nii.gz").is_file():
                write_labels(folder, record=record, summary=summary)
    finally:
        image.close()
    return left_out
