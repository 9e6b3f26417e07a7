"""Plan, blocks and stitch of an image in memory, as a run does them but for files and processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segmodels.bundles.card import Card
from tasks.blocks.segment import segment_block
from tasks.planning.make import make_plan
from tasks.planning.plan import Parameters, Plan
from tasks.stitching.stitch import Stitch
from tasks.tiling.area import Area, tiles_by_block

#: What no mask and no confidence holds: a pixel that is never written keeps it.
UNTOUCHED = 77


def plan_for(
    image: Any,
    card: Card,
    folder: Path,
    *,
    block: int | None = None,
    area: Area | None = None,
    **parameters: Any,
) -> Plan:
    """A plan of a bundle that has a card and no files."""
    return make_plan(
        image,
        item="x",
        image_digest="",
        bundle=folder,
        bundle_digest="",
        card=card,
        parameters=Parameters(**parameters),
        block=block,
        area=area,
    )  # fmt: skip


def segment_all(
    plan: Plan,
    image: Any,
    engine: Any,
    folder: Path,
    *,
    order: Callable[[list[int]], Sequence[int]] = list,
    without: Sequence[int] = (),
) -> None:
    """Every block of a plan, but some."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in order([n for n in tiles_by_block(plan.grid, plan.tiled_area) if n not in without]):
        segment_block(plan, number, image=image, engine=engine, directory=folder)


def stitched(
    plan: Plan, folder: Path, *, rows: int = 5
) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8], Stitch]:
    """Codes and confidence of what the plan covers, and the stitch that gave them."""
    stitch = Stitch(plan, folder, rows=rows)
    low, high = plan.bounds
    bands = list(stitch.bands())
    codes = np.full([h - a for a, h in zip(low, high, strict=True)], UNTOUCHED, bands[0].codes.dtype)
    confidence = np.full(codes.shape, UNTOUCHED, np.uint8)
    for band in bands:
        codes[band.window], confidence[band.window] = band.codes, band.confidence
    return codes, confidence, stitch
