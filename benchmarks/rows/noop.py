"""No model to speak of: what reading, blending, stitching and writing cost, against a plain copy by GDAL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.bundles import bundle
from benchmarks.command import program, segflow_run
from benchmarks.data import geotiff
from benchmarks.harness import Figure, Goal, Row, Settings, interleave, ratios, seconds

SIDE = 20_000
GOAL = Goal("≥", 0.7)
#: From the first read to the closed mask with overviews; regions and report are another matter.
STAGES = ("plan", "segment", "stitch")


def measure(settings: Settings) -> Sequence[Figure]:
    """``segflow run --direct`` and two copies, in turns."""
    side = settings.side(SIDE)
    settings.note(f"image of {side}² × 3")
    image = geotiff(settings.work / "images", side)
    model = bundle(settings, "noop")
    target = settings.work / "copy.tif"

    def run() -> dict[str, Any]:
        ran = segflow_run(settings, image, model, "--overlap", 0.25)
        stages = {name: ran.stages(name) for name in STAGES}
        return {"seconds": sum(stages.values()), **stages}

    def copy(*level: object) -> Callable[[], dict[str, Any]]:
        return lambda: program(settings, "benchmarks.copy", image, target, *level)

    settings.note("a first run on a small image, not measured: compiled kernels are cached")
    segflow_run(settings, geotiff(settings.work / "images", 512), model)
    contestants = {"segflow": run, "copy": copy(), "copy at level 1": copy("--level", 1)}
    results = interleave(contestants, repeats=settings.repeats, note=settings.note)
    took = {name: [r["seconds"] for r in rounds] for name, rounds in results.items()}
    mega = side * side / 1e6
    details = {
        "image": f"{side}² × 3 uint8, ZSTD, blocks of 512; {image.stat().st_size / 1e6:.0f} MB",
        "model": "one logit, affine in channel 1; tile 512, overlap 25 %, gaussian",
        "copied by": results["copy"][0]["by"],
        "segflow s": seconds(took["segflow"]),
        **{f"of it {name}": seconds([r[name] for r in results["segflow"]]) for name in STAGES},
        "copy s": seconds(took["copy"]),
        "Mpixel/s": [round(mega / min(took["segflow"]), 1), round(mega / min(took["copy"]), 1)],
        "copy at ZSTD level 1 s": seconds(took["copy at level 1"]),
    }
    return [
        Figure(
            "no-op model, first read to closed mask with overviews: pixel rate over that of a plain copy by GDAL",
            ratios(took["copy"], took["segflow"]),
            goal=GOAL,
            details=details,
        ),
        Figure(
            "the same over a copy with the fastest ZSTD level",
            ratios(took["copy at level 1"], took["segflow"]),
            goal=GOAL,
        ),
    ]


ROW = Row("noop", "no-op model against a plain copy by GDAL", measure)
