"""What a whole image would take, predicted from how its preview went."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.planning.plan import Plan
from tasks.tiling.area import tiles_by_block


@dataclass(frozen=True)
class Pace:
    """What was measured beside the steps' own seconds.

    Attributes:
        blocks: Of each block that this run computed, in the order in which they ended: seconds
            since the first began, and its tiles.
        workers: Blocks in flight.
        scan: Seconds of the regions step that grow with the image.
    """

    blocks: tuple[tuple[float, int], ...] = ()
    workers: int = 1
    scan: float = 0.0


def estimate_full_seconds(plan: Plan, *, timings: dict[str, float], pace: Pace) -> float | None:
    """Seconds of the whole image: blocks by their batches, stitch and regions by pixels, the rest as it was.

    Returns:
        Seconds, without the drawing of the report, whose size does not grow; None if this
        run computed no block to measure by.
    """
    assert plan.area is not None
    if not pace.blocks:
        return None
    every = sum(_batches(n, plan.batch) for n in tiles_by_block(plan.grid, None).values())
    ended = [(seconds, _batches(tiles, plan.batch)) for seconds, tiles in pace.blocks]
    larger = math.prod(plan.shape) / math.prod(plan.area.shape)
    regions = timings.get("regions", 0.0) - pace.scan + pace.scan * larger
    grown = {
        "segment": all_blocks(ended, workers=pace.workers, batches=every),
        **({"coarse": timings["coarse"] * larger} if "coarse" in timings else {}),
        "stitch": timings.get("stitch", 0.0) * larger,
        "regions": regions,
    }
    return sum({**timings, **grown}.values())


def all_blocks(ended: Sequence[tuple[float, int]], *, workers: int, batches: int) -> float:
    """Seconds that ``batches`` take, if those of some blocks took what ``ended`` says.

    What the first blocks took, one a worker, holds what is paid once (opening the image,
    compiling); with as many blocks again to measure by, it is not multiplied.

    Args:
        ended: Seconds since the first block began, and batches, in order of ending.
        workers: Blocks in flight.
        batches: Of all blocks.
    """
    last = ended[-1][0]
    first, rest = ended[:workers], ended[workers:]
    if len(rest) < workers:
        return last * batches / sum(n for _, n in ended)
    pace = (last - first[-1][0]) / sum(n for _, n in rest)
    return first[-1][0] + pace * max(0, batches - sum(n for _, n in first))


def _batches(tiles: int, batch: int) -> int:
    return -(-tiles // batch)
