"""A whole run against bare forward passes of the same engine over the same number of tiles."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from benchmarks.command import program, segflow_run
from benchmarks.harness import Figure, Goal, Settings, interleave, ratios, seconds


def against_bare(
    settings: Settings,
    *,
    measure: str,
    image: Path,
    model: Path,
    overlap: float,
    goal: Goal,
    details: dict[str, Any],
) -> Figure:
    """One line of the table.

    The run counts from the first block's start to the published result: all but what its plan took.
    """

    def run() -> Any:
        return segflow_run(settings, image, model, "--overlap", overlap)

    # Once unmeasured: the engine is converted and compiled kernels are cached; it gives tiles and batch, too.
    settings.note("a first run, not measured")
    first = run()
    record = first.record
    tile = [t for t in record["parameters"]["tile"] if t > 1]
    tiles, batch = record["plan"]["tiles"], record["parameters"]["batch"]
    arguments = ["--tile", *tile, "--batch", batch, "--tiles", tiles]

    def bare() -> Any:
        return program(settings, "benchmarks.bare", model, *arguments)

    results = interleave({"segflow run": run, "bare": bare}, repeats=settings.repeats, note=settings.note)
    ran = [r.from_first_block for r in results["segflow run"]]
    forward = [r["seconds"] for r in results["bare"]]
    engines = {r.engine for r in results["segflow run"]} | {r["engine"] for r in results["bare"]}
    if len(engines) != 1:
        raise RuntimeError(
            f"the runs used different engines ({', '.join(sorted(engines))}): nothing to compare"
        )
    stages = ("segment", "stitch", "regions", "report")
    rate = math.prod(tile) * tiles / 1e6
    return Figure(
        measure,
        ratios(forward, ran),
        goal=goal,
        details={
            **details,
            "engine": engines.pop(),
            "tiles": f"{tiles} of {'×'.join(map(str, tile))}, batch {batch}",
            "run s": seconds(ran),
            **{f"of it {name}": seconds([r.stages(name) for r in results["segflow run"]]) for name in stages},
            "bare s": seconds(forward),
            "bare Mpixel/s": round(rate / min(forward), 2),
        },
    )
