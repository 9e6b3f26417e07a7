"""The regions step: components of the stitched mask, measured, as tables and a summary."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from segmodels.bundles.card import Card
from tasks.ahead import one_ahead
from tasks.codes import codes_of
from tasks.files import atomic_write
from tasks.imagery.protocol import Image, ImageInfo
from tasks.imagery.views.tolerant import read_values
from tasks.planning.plan import Plan
from tasks.postprocess.step import open_finished
from tasks.previews.area import open_seen
from tasks.regions.labeller import PixelSizes
from tasks.regions.measure import region_table, summarise
from tasks.regions.scanner import Regions, RegionScanner
from tasks.regions.sizes import pixel_sizes
from tasks.regions.tables import write_regions
from tasks.stitching.stitch import Bands
from tasks.work import WorkFolder

SUMMARY = "summary.json"


def measure_item(work: WorkFolder) -> float:
    """Writes ``regions.parquet``, ``regions.csv`` and ``summary.json`` into the result folder.

    Returns:
        Seconds that grow with the image.

    Raises:
        OutputError: They cannot be written.
    """
    plan = Plan.load(work.plan)
    image = open_seen(plan, scratch=work.scratch)
    try:
        info = image.info
        sizes = pixel_sizes(info)
        if plan.area is not None:
            warm_up(info, card=plan.card, sizes=sizes)  # or compiling would pass for work that grows
        begin = time.perf_counter()
        regions = scan(image, open_finished(plan, work), card=plan.card, sizes=sizes)
        seconds = time.perf_counter() - begin
    finally:
        image.close()
    write_regions(work.result, region_table(regions, info=info, card=plan.card), info=info)
    footprint = sizes.total(info.shape)
    write_summary(work.result, summarise(regions, info=info, card=plan.card, footprint=footprint))
    return seconds


def warm_up(info: ImageInfo, *, card: Card, sizes: PixelSizes) -> None:
    """Compiles what the scanner runs, on two pixels of the image's own types."""
    shape = (1,) * (len(info.shape) - 1) + (2,)
    scanner = RegionScanner(
        shape,
        channels=len(info.channels),
        region_codes=tuple(c.code for c in card.classes if c.region),
        full=card.connectivity == "full",
        wraps=False,
        sizes=sizes,
    )
    codes = np.full(shape, card.classes[-1].code, codes_of(card).dtype)
    values = np.zeros((*shape, len(info.channels)), info.dtype)
    scanner.feed(tuple(slice(0, n) for n in shape), codes, np.zeros(shape, np.uint8), values)
    scanner.finish()


def scan(image: Image, stitch: Bands, *, card: Card, sizes: PixelSizes) -> Regions:
    """Feeds the stitched bands, with the image's values below them, to the scanner."""
    info = image.info
    scanner = RegionScanner(
        info.shape,
        channels=len(info.channels),
        region_codes=tuple(c.code for c in card.classes if c.region),
        full=card.connectivity == "full",
        wraps=info.wraps[-1],
        sizes=sizes,
    )
    bands = ((b, read_values(image, b.window)) for b in stitch.bands())
    for band, values in one_ahead(bands):
        scanner.feed(band.window, band.codes, band.confidence, values)
    return scanner.finish()


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    """Writes ``summary.json``."""
    with atomic_write(folder / SUMMARY) as stream:
        stream.write(json.dumps(summary, indent=1).encode())
