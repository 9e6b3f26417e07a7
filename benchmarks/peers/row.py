"""segflow against MONAI, in turns."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.bundles import bundle
from benchmarks.command import program, segflow_run
from benchmarks.data import geotiff
from benchmarks.harness import Figure, Goal, Row, Settings, interleave, ratios, seconds
from benchmarks.models import FILTERS_2D, OVERLAP_2D, SCALE, TILE_2D
from benchmarks.peers.environment import peers_python
from benchmarks.peers.process import started

SIDE = 4096
#: Ways to run MONAI: as a user would; tuned; tuned and compiled.
WAYS = (
    ("fp32 eager", "as a user would run it", 10.0),
    ("bf16 channels-last", "bf16 autocast, channels-last", 1.8),
    ("bf16 channels-last compiled", "the same with torch.compile and freezing", 1.4),
)


def measure(settings: Settings) -> Sequence[Figure]:
    """One line per way to run MONAI."""
    python = peers_python()
    side = settings.side(SIDE)
    settings.note(f"image of {side}² × 3")
    image, model = geotiff(settings.work / "images", side), bundle(settings, "unet2d")
    folder = settings.work / "peers"
    program(settings, "benchmarks.peers.export", model, image, folder)

    def ours() -> dict[str, Any]:
        ran = segflow_run(settings, image, model, "--overlap", OVERLAP_2D)
        return {"seconds": ran.stages("segment", "stitch"), "engine": ran.engine, **ran.record["plan"]}

    settings.note("a first run of segflow, not measured")
    engine = ours()["engine"]
    numbers = [TILE_2D, OVERLAP_2D, SCALE.offset, SCALE.divisor]
    module, log = "benchmarks.peers.monai_worker", folder / "monai.log"
    with started(settings, python, module, folder, *numbers, log=log) as peer:
        warm, broken = {}, []
        for way, about, bound in WAYS:
            settings.note(f"warming up MONAI, {way}")
            try:
                warm[way] = peer.ask(way)
            except RuntimeError as error:
                broken.append(
                    Figure(f"segflow over MONAI, {about}", why_not=str(error), goal=Goal("≥", bound))
                )
        contestants: dict[str, Callable[[], dict[str, Any]]] = {"segflow": ours}
        contestants |= {way: partial(peer.ask, way) for way in warm}
        results = interleave(contestants, repeats=settings.repeats, note=settings.note)
    shutil.rmtree(folder)
    took = {name: [r["seconds"] for r in rounds] for name, rounds in results.items()}
    mega = side * side / 1e6
    figures = [
        Figure(
            f"segflow over MONAI, {about} ({way})",
            ratios(took[way], took["segflow"]),
            goal=Goal("≥", bound),
            details={
                "image": f"{side}² × 3 uint8, tile {TILE_2D}, overlap {OVERLAP_2D:.0%}, gaussian",
                "model": f"U-Net {'-'.join(map(str, FILTERS_2D))}",
                "conversion differs by": f"{peer.about['worst']:.1e}",
                "peer": f"{peer.about['versions']}, {peer.about['threads']} threads, sw_batch_size "
                f"{warm[way]['batch']} (the faster of 1 and 4)",
                "MONAI s": seconds(took[way]),
                "segflow on": engine,
                "segflow segment and stitch s": seconds(took["segflow"]),
                "Mpixel/s": [round(mega / min(took["segflow"]), 2), round(mega / min(took[way]), 2)],
            },
        )
        for way, about, bound in WAYS
        if way in warm
    ]
    return [*figures, *broken]


ROW = Row("monai", "against MONAI's sliding_window_inference, same weights", measure)
