"""What the coarse stage costs, and what it adds to the price of the fine stage."""

from __future__ import annotations

import math
from typing import Any

from segmodels.bundles.card import Card
from tasks.coarse.asked import Coarse
from tasks.coarse.dilate import dilating_bytes
from tasks.imagery.protocol import ImageInfo
from tasks.imagery.views.coarsened import PIECE, PIECE_BYTES
from tasks.planning.budget import BASE_BYTES, base_bytes
from tasks.planning.plan import Parameters, Plan
from tasks.planning.region import CoarseCost, Region
from tasks.tiling.grid import Index
from tasks.tiling.roi import wanted_count

#: A band's pixels outside the region, looked up and marked.
_LINE_BYTES = 4
#: Lines that the stitch holds at most.
_MOST_ROWS = 512


def cost_of(plan: Plan, coarse: Coarse) -> CoarseCost:
    """What a coarse stage takes, from its plan."""
    located = base_bytes(plan.engine, server=coarse.request.server) + dilating_bytes(
        coarse.margin, coarse.coarsen
    )
    bitmap = math.prod(coarse.shape) // 8 + math.prod(plan.shape) // 8 + (1 << 16)
    return CoarseCost(
        engine=plan.engine,
        memory=max(plan.peak_memory_bytes, located),
        model=plan.model_bytes,
        disk=plan.disk_bytes,
        bitmap=bitmap,
    )


def means_bytes(parameters: Parameters, card: Card, *, workers: int) -> int:
    """What taking means of an image holds, each worker and whoever reads beside them."""
    if parameters.coarsen is None:
        return 0
    return (workers + 1) * PIECE * len(card.channels) * PIECE_BYTES


def beside_bytes(cost: CoarseCost | None, *, engine: str, info: ImageInfo, processes: int | None) -> int:
    """What the stages take of the memory beside the fine one's own, at most."""
    if cost is None:
        return 0
    return kept_memory(cost, engine=engine, processes=processes) + _LINE_BYTES * _MOST_ROWS * _line(
        info.shape
    )


def _line(shape: Index) -> int:
    """Pixels of one line of the slowest spatial axis."""
    return math.prod(shape[-2:]) if len(shape) > 2 else shape[-1]


def kept_memory(cost: CoarseCost, *, engine: str, processes: int | None) -> int:
    """What the coarse stage still holds while the fine one runs: its model, and its library if that is another.

    Args:
        cost: Of the coarse stage.
        engine: Of the fine stage.
        processes: Workers of a cluster on this machine, which hold it each.
    """
    second = base_bytes(cost.engine, server=False) - BASE_BYTES["method"] if cost.engine != engine else 0
    return max(1, processes or 0) * (cost.model + second)


def with_coarse(plan: Plan, cost: CoarseCost, region: Region | None, *, processes: int | None) -> Plan:
    """The plan of a fine stage with its region, and with the price of both stages.

    Args:
        plan: Of the fine stage alone.
        cost: Of the coarse stage.
        region: What it found; None if it has not run yet.
        processes: Workers of a cluster on this machine.
    """
    own = plan.peak_memory_bytes + kept_memory(cost, engine=plan.engine, processes=processes)
    own += _LINE_BYTES * plan.stitch_rows * _line(plan.shape)
    changes: dict[str, Any] = {
        "peak_memory_bytes": max(own, cost.memory),
        "disk_bytes": max(plan.disk_bytes, cost.disk) + cost.bitmap,
    }
    if region is not None:
        plan = plan.model_copy(update={"region": region})
        sought = plan.tiled_roi
        tiles = 0 if sought is None else wanted_count(plan.grid, plan.tiled_area, sought)
        plan = plan.model_copy(update={"region_tiles": tiles})
        stage = f"coarse stage {region.name}"
        changes |= {
            "notes": (*plan.notes, *_own(f"{stage}: ", region.notes, plan.notes), *found_notes(plan, region)),
            "suspicions": (*plan.suspicions, *_own(f"{stage}: ", region.suspicions, plan.suspicions)),
        }
    return plan.model_copy(update=changes)


def region_record(plan: Plan) -> dict[str, Any] | None:
    """What ``run.json`` says of the coarse stage; None for a bundle that has one."""
    region = plan.region
    if region is None:
        return None
    return {
        "name": region.name,
        "version": region.version,
        "digest": region.digest,
        "engine": {"name": region.engine, "precision": region.precision, "library": region.library},
        **region.roi.model_dump(mode="json"),
        "region_digest": region.area.digest,
        "found_pixels": region.found,
        "pixels": region.pixels,
        "share": region.pixels / math.prod(plan.shape),
        "tiles": plan.region_tiles,
        "tiles_full": plan.grid.tile_count,
        "coarse_tiles": region.tiles,
        "coarse_failed_tiles": region.failures,
    }


def _own(prefix: str, sentences: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    """Of a stage's sentences those that the other stage does not say as well, with the stage's name."""
    return tuple(prefix + s for s in sentences if s not in others)


def found_notes(plan: Plan, region: Region) -> tuple[str, ...]:
    """What the coarse stage found, and what it could not look at, in sentences."""
    notes = []
    if region.failures:
        notes.append(
            f"{region.failures} of {region.tiles} tiles of the coarse stage {region.name} failed, the first because: "
            f"{(region.first_failure or '').rstrip('.')}; the fine stage looks there too; run again to retry them"
        )
    if not region.pixels:
        notes.append(
            f"the coarse stage {region.name} found no {' or '.join(region.roi.classes)} in {plan.image}: the whole "
            f"mask is {plan.card.classes[0].name}"
        )
        return tuple(notes)
    share = region.pixels / math.prod(plan.shape)
    notes.append(
        f"the coarse stage {region.name} found {' or '.join(region.roi.classes)}; with its margin the region is "
        f"{100 * share:.3g} % of the image, {plan.region_tiles} of {plan.grid.tile_count} tiles are computed, and all else "
        f"counts as {plan.card.classes[0].name}"
    )
    return tuple(notes)
