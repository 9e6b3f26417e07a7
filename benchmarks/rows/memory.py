"""Peak memory of the process tree: does it grow with the image, and does it stay below the plan's figure?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from benchmarks.bundles import bundle
from benchmarks.command import Ran, segflow_run
from benchmarks.data import geotiff
from benchmarks.harness import Figure, Goal, Row, Settings, interleave, ratios
from benchmarks.memory import can_measure_memory

LARGE, SMALL, UNET = 40_000, 10_000, 20_000
GIB = 2**30


def measure(settings: Settings) -> Sequence[Figure]:
    """The no-op model on a large and a small image in turns; then the U-Net."""
    can_measure_memory()
    large, small, with_unet = (settings.side(side) for side in (LARGE, SMALL, UNET))
    settings.note(f"images of {large}² and {small}² × 3, for the no-op model")
    folder, model = settings.work / "images", bundle(settings, "noop")
    run = partial(segflow_run, settings, sampled=True)
    contestants = {
        side: partial(run, geotiff(folder, side), model, "--overlap", 0.25) for side in (large, small)
    }
    results = interleave(
        {f"{side}²": contestant for side, contestant in contestants.items()},
        repeats=settings.repeats,
        note=settings.note,
    )
    peaks = {side: [float(r.peak) for r in results[f"{side}²"]] for side in (large, small)}
    settings.note(f"U-Net on {with_unet}² × 3")
    unet = run(geotiff(folder, with_unet), bundle(settings, "unet2d"))
    noop = results[f"{large}²"]
    return [
        Figure(
            f"peak memory at {large}² over that at {small}², no-op model, equally many regions",
            ratios(peaks[large], peaks[small]),
            goal=Goal("≤", 1.05),
            details={f"{side}² MiB": [round(p / 2**20) for p in peaks[side]] for side in (large, small)},
        ),
        Figure(
            f"the same at {large}² over the plan's figure",
            tuple(r.peak / planned(r) for r in noop),
            goal=Goal("≤", 1),
            details={"plan MiB": round(planned(noop[0]) / 2**20)},
        ),
        Figure(
            f"peak memory at {with_unet}² with the U-Net, once",
            (unet.peak / GIB,),
            unit="GiB",
            goal=Goal("≤", 1.5),
            details={
                "engine": unet.engine,
                "peak MiB": round(unet.peak / 2**20),
                "run s": round(unet.seconds, 1),
            },
        ),
        Figure(
            "the same over the plan's figure",
            (unet.peak / planned(unet),),
            goal=Goal("≤", 1),
            details={"plan MiB": round(planned(unet) / 2**20)},
        ),
    ]


def planned(ran: Ran) -> int:
    """Bytes that the run's plan allowed."""
    return int(ran.record["plan"]["peak_memory_bytes"])


ROW = Row("memory", "peak memory of the process tree", measure)
