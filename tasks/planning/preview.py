"""Previews: the part of an image that a user asked for, and what the whole would take."""

from __future__ import annotations

import hashlib
import math
import re
from pathlib import Path
from typing import Any

from tasks.errors import InputError, UsageError
from tasks.imagery.crop import CroppedImage
from tasks.imagery.orientation import native_box
from tasks.imagery.protocol import Image, ImageInfo, Window
from tasks.planning.aoi import locate_aoi
from tasks.planning.estimate import Pace, estimate_full_seconds
from tasks.planning.opened import open_planned
from tasks.planning.plan import Plan
from tasks.planning.request import Request
from tasks.planning.window import locate_window, parse_window
from tasks.publishing.digests import input_digest
from tasks.publishing.publish import RECORD, read_record
from tasks.tiling.area import Area, tiles_by_block, whole_window

#: Of a shapefile's parts, those that say where it lies.
_SHAPEFILE = (".shp", ".shx", ".prj")
_LONGEST = 60


def aoi_digest(path: Path) -> str:
    """Digest of an area's content, wherever its file lies.

    Raises:
        UsageError: It is not there.
        InputError: It cannot be read.
    """
    if not path.is_file():
        raise UsageError(f"--aoi {path} is not there: check the path")
    parts = [path.with_suffix(s) for s in _SHAPEFILE] if path.suffix.lower() == ".shp" else [path]
    digests = [input_digest(p) for p in parts if p == path or p.is_file()]
    return digests[0] if len(digests) == 1 else f"sha256:{hashlib.sha256(repr(digests).encode()).hexdigest()}"


def area_parameters(*, window: str | None, aoi: Path | None) -> dict[str, str | None]:
    """The parameters that name an area.

    Raises:
        UsageError: Both a window and an area, a window that is none, or a file that cannot be read.
    """
    if window is not None and aoi is not None:
        raise UsageError("--window and --aoi are two areas: give one of them")
    if window is not None:
        window = "".join(window.split())
        parse_window(window)
    return {"window": window, "aoi": None if aoi is None else aoi_digest(aoi)}


def check_same_extent(request: Request, folder: Path) -> None:
    """Refuses an item that would replace a whole image's result by a preview.

    Raises:
        InputError: The item named holds one.
    """
    held = read_record(folder / RECORD)
    if request.parameters.preview and held is not None and not held.get("preview"):
        raise InputError(
            f"{folder} holds the result of the whole image, which a preview would replace: give another --item"
        )


def preview_suffix(*, window: str | None, aoi: str | None) -> str:
    """What distinguishes a preview's item from the whole image's, and from another preview's."""
    if aoi is not None:
        return f".aoi-{aoi.removeprefix('sha256:')[:10]}"
    if window is None:
        return ""
    name = re.sub(r"[^0-9A-Za-z.+-]", "_", window.replace(":", "-"))
    if len(name) > _LONGEST:
        name = hashlib.sha256(window.encode()).hexdigest()[:10]
    return f".window-{name}"


def find_area(request: Request, info: ImageInfo) -> Area | None:
    """The area that a request names, on the image's grid; None for all of it.

    Raises:
        InputError: It does not meet the image, or its file is refused.
        UsageError: A window of another kind of image.
        OutputError: Its bitmap cannot be written.
    """
    if request.aoi is not None:
        return locate_aoi(request.aoi, info, folder=request.work().scratch / "area")
    if request.parameters.window is not None:
        return whole_window(*locate_window(request.parameters.window, info))
    return None


def area_window(area: Area) -> Window:
    """The area's window as slices of the image."""
    return tuple(slice(a, h) for a, h in zip(area.low, area.high, strict=True))


def open_seen(plan: Plan, *, scratch: Path) -> Image:
    """Opens a plan's image, for all that comes after the blocks: of a preview, its window.

    Raises:
        InputError: It cannot be opened any more.
    """
    image = open_planned(plan, scratch=scratch)
    return image if plan.area is None else CroppedImage(image, area_window(plan.area))


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
    counts = tiles_by_block(plan.grid, plan.area)
    pixels = math.prod(plan.area.shape)
    seconds = estimate_full_seconds(plan, timings=timings, pace=pace)
    window = area_window(plan.area)
    names = ("rows", "columns") if info.format == "geotiff" else ("i", "j", "k", "frames")
    native = window if info.format == "geotiff" else native_box(info, window)
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
