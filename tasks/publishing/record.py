"""The record of a run (``run.json``): provenance, timings and verdict."""

from __future__ import annotations

import platform
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import version
from typing import Any, Literal

from segmodels.bundles.card import Card
from tasks.blocks.blockfile import TileFailure
from tasks.blocks.stepdown import read_notes
from tasks.coarse.price import found_notes, region_record
from tasks.imagery.protocol import ImageInfo
from tasks.planning.estimate import Pace
from tasks.planning.plan import RESULT_VERSION, Plan
from tasks.planning.request import Request
from tasks.planning.step import Planned
from tasks.postprocess.step import read_changes
from tasks.previews.record import preview_record
from tasks.publishing.digests import identity_of, size_of
from tasks.stitching.audit import SeamAudit, seam_suspicions
from tasks.tiling.area import forward_passes

Status = Literal["done", "partial", "suspect"]
#: More failures than this are counted, not listed.
LISTED_FAILURES = 100
#: What a reader of a private run must know before handing it on.
PRIVATE = "Private: keys instead of names; pictures still show the patient."


def status_of(
    failures: tuple[TileFailure, ...], suspicions: tuple[str, ...], *, retry: bool = False
) -> Status:
    """*partial* if a tile failed, *suspect* if the input or result looks wrong, else *done*.

    Args:
        failures: Tiles without a prediction.
        suspicions: Sentences.
        retry: Whether tiles of a coarse stage failed.
    """
    if failures or retry:
        return "partial"
    return "suspect" if suspicions else "done"


def build_record(
    request: Request,
    planned: Planned,
    plan: Plan,
    info: ImageInfo,
    *,
    failures: tuple[TileFailure, ...],
    seams: SeamAudit,
    timings: dict[str, float],
    started: datetime,
    finished: datetime,
    pace: Pace | None = None,
) -> dict[str, Any]:
    """Everything that a reader needs to judge and repeat the run."""
    card, grid = plan.card, plan.grid
    suspicions = (*plan.suspicions, *seam_suspicions(seams, card.seams))
    preview = preview_record(plan, info, timings=timings, pace=pace or Pace())
    notes = [*([preview["sentence"]] if preview else []), *plan.notes, *read_notes(planned.work.run)]
    # What the coarse stage could not look at, or did not find, is more than a remark.
    grave = () if plan.region is None else found_notes(plan, plan.region)
    plain = [n for n in notes if n not in grave]
    warnings = [*notes, *suspicions]
    if failures:
        warnings.append(
            f"{len(failures)} of {planned.tiles} tiles failed, the first because: {failures[0].reason.rstrip('.')}; "
            "run again to retry them"
        )
    return {
        "segflow": version("segflow"),
        "result_version": RESULT_VERSION,
        "status": status_of(failures, suspicions, retry=plan.region is not None and plan.region.failures > 0),
        "item": plan.item,
        "private": plan.image.private,
        "input": {
            "path": plan.image.where,
            "digest": plan.image_digest,
            "identity": identity_of(plan.image_digest),
            "size": size_of(plan.image, plan.image_digest),
            "format": info.format,
            "field": info.field,
            "shape": list(info.shape),
            "axes": list(info.axes),
            "dtype": info.dtype,
            "channels": list(info.channels),
            "units": [c.units for c in card.channels],
            "bands": band_record(card, info),
            "grid": info.grid,
            "nodata": info.nodata,
            "notes": [*([PRIVATE] if plan.image.private else []), *info.notes],
        },
        "bundle": {
            "name": card.name,
            "version": card.version,
            "digest": plan.bundle_digest,
            "description": card.description,
            "licence": card.licence,
            "classes": [c.model_dump() for c in card.classes],
            "scores": card.scores,
        },
        "parameters": {
            "asked": plan.parameters.model_dump(),
            "tile": list(grid.tile),
            "overlap": [a.tile - a.step for a in grid.axes],
            "block": list(grid.block),
            "batch": plan.batch,
            "blend": plan.blend,
            "padding": plan.padding,
            "connectivity": card.connectivity,
            "normaliser": {k: [str(v) for v in values] for k, values in asdict(plan.normaliser).items()},
            "probability_scale": plan.quantisation.probability_scale,
        },
        "sampling": None if plan.resampling is None else plan.resampling.as_json(),
        "region_of_interest": region_record(plan),
        "preview": preview,
        "parameters_digest": plan.parameters.digest(),
        "plan": {
            "tiles": planned.tiles,
            "forward_passes": forward_passes(grid, plan.tiled_area),
            "borders": grid.borders,
            "overlap_from": plan.overlap_from,
            "blocks": planned.blocks,
            "peak_memory_bytes": plan.peak_memory_bytes,
            "disk_bytes": plan.disk_bytes,
        },
        "engine": {"name": plan.engine, "precision": plan.precision, "library": plan.library},
        "fitted": None if plan.fitted is None else plan.fitted.model_dump(),
        "postprocess": read_changes(planned.work.run),
        "statistics": [s.model_dump() for s in plan.statistics],
        "timings": {k: round(v, 3) for k, v in timings.items()},
        "blocks": {
            "total": planned.blocks,
            "computed": len(planned.todo),
            "reused": planned.blocks - len(planned.todo),
        },
        "seams": seams.as_json(card.seams),
        "failed_tiles": [asdict(f) for f in failures[:LISTED_FAILURES]],
        "failed_tile_count": len(failures),
        "warnings": warnings,
        # Those of them that only say how the result was made, and cast no doubt on it.
        "notes": plain,
        "command": request.command,
        "started": started.isoformat(timespec="seconds"),
        "finished": finished.isoformat(timespec="seconds"),
        "machine": {"python": platform.python_version(), "platform": platform.platform()},
    }


def band_record(card: Card, info: ImageInfo) -> list[dict[str, Any]] | None:
    """Which band became which channel of the model; None of an image that knows no bands."""
    if len(info.bands) != len(card.channels):
        return None
    return [
        {"channel": channel.name, "units": channel.units, **asdict(band)}
        for channel, band in zip(card.channels, info.bands, strict=True)
    ]
