"""How long the whole command takes for an image of one tile."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial

from benchmarks.bundles import bundle
from benchmarks.command import segflow_run
from benchmarks.data import geotiff
from benchmarks.harness import Figure, Goal, Row, Settings, interleave, seconds

SIDE = 512


def measure(settings: Settings) -> Sequence[Figure]:
    """Embedded server and ``--direct``, in turns; the very first time apart."""
    image = geotiff(settings.work / "images", SIDE)
    model = bundle(settings, "unet2d")
    run = partial(segflow_run, settings, image, model)
    empty = settings.work / "empty-home"
    shutil.rmtree(empty, ignore_errors=True)
    settings.note("the very first runs: nothing cached, no database")
    first = [run(direct=direct, home=empty).wall for direct in (True, False)]
    shutil.rmtree(empty)
    contestants = {"--direct": partial(run, direct=True), "embedded server": partial(run, direct=False)}
    for contestant in contestants.values():
        contestant()
    results = interleave(contestants, repeats=settings.repeats, note=settings.note)
    wall = {name: tuple(r.wall for r in rounds) for name, rounds in results.items()}
    about = f"{SIDE}² × 3 uint8, U-Net 32-512 on {results['--direct'][0].engine}, converted before"

    def inside(name: str) -> list[float]:
        return seconds([r.seconds for r in results[name]])

    return [
        Figure(
            "start-up, embedded server: the whole command on a 512² image",
            wall["embedded server"],
            unit="s",
            goal=Goal("≤", 15),
            details={
                "image": about,
                "of it the run itself": inside("embedded server"),
                "the very first time (new database, engine converted)": round(first[1], 2),
            },
        ),
        Figure(
            "start-up, `--direct`",
            wall["--direct"],
            unit="s",
            goal=Goal("≤", 5),
            details={
                "image": about,
                "of it the run itself": inside("--direct"),
                "the very first time (engine converted)": round(first[0], 2),
            },
        ),
    ]


ROW = Row("startup", "start-up of the whole command", measure)
