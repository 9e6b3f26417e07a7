"""What the record of a preview says: which part it is, and what the whole would take."""

from __future__ import annotations

import math
from typing import Any

from tasks.imagery.protocol import ImageInfo
from tasks.imagery.volume.orientation import native_box
from tasks.planning.estimate import Pace, estimate_full_seconds
from tasks.planning.plan import Plan
from tasks.previews.area import area_window
from tasks.tiling.area import tiles_by_block


def preview_record(
    plan: Plan, info: ImageInfo, *, timings: dict[str, float], pace: Pace
) -> dict[str, Any] | None:
    """What ``run.json`` says of a preview; None for a whole image.

    Args:
        plan: The run's plan.
        info: The whole image.
        timings: Seconds of its steps so far.
        pace: How they went.
    """
    if plan.area is None:
        return None
    counts = tiles_by_block(plan.grid, plan.tiled_area)
    pixels = math.prod(plan.area.shape)
    seconds = estimate_full_seconds(plan, timings=timings, pace=pace)
    window = area_window(plan.area)
    names = ("rows", "columns") if info.kind == "raster" else ("i", "j", "k", "frames")
    native = window if info.kind == "raster" else native_box(info, window)
    out = {
        "window": {n: [s.start, s.stop] for n, s in zip(names, native, strict=False)},
        "aoi": plan.parameters.aoi,
        "area_digest": plan.area.digest,
        "pixels": pixels,
        "pixels_full": math.prod(info.shape),
        "share": pixels / math.prod(info.shape),
        "tiles": sum(counts.values()),
        "tiles_full": plan.grid.tile_count,
        "estimated_full_seconds": None if seconds is None else round(seconds, 1),
    }
    return {**out, "sentence": _sentence(out)}


def _sentence(preview: dict[str, Any]) -> str:
    where = ", ".join(f"{name} {a}:{h}" for name, (a, h) in preview["window"].items())
    part = f"{100 * preview['share']:.3g} % of the image, {preview['tiles']} of its {preview['tiles_full']} tiles"
    seconds = preview["estimated_full_seconds"]
    took = (
        ""
        if seconds is None
        else f"; the whole would take about {_duration(seconds)} and the drawing of its report"
    )
    if preview["aoi"] is None:
        return f"This is a preview of {where} ({part}){took}."
    return f"This is a preview of an area in {where} ({part}); what lies around the area counts as no data{took}."


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
