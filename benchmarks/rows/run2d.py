"""A large raster and a U-Net: the whole run against bare forward passes."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.against_bare import against_bare
from benchmarks.bundles import bundle
from benchmarks.data import geotiff
from benchmarks.harness import Figure, Goal, Row, Settings
from benchmarks.models import FILTERS_2D, OVERLAP_2D

SIDE = 8192


def measure(settings: Settings) -> Sequence[Figure]:
    """``segflow run --direct`` and its engine alone, in turns."""
    side = settings.side(SIDE)
    settings.note(f"image of {side}² × 3")
    figure = against_bare(
        settings,
        measure="2-D run, first block to published result: speed over that of bare forward passes",
        image=geotiff(settings.work / "images", side),
        model=bundle(settings, "unet2d"),
        overlap=OVERLAP_2D,
        goal=Goal("≥", 0.90),
        details={
            "image": f"{side}² × 3 uint8",
            "model": f"U-Net {'-'.join(map(str, FILTERS_2D))}, batch normalisation, 2 classes",
        },
    )
    return [figure]


ROW = Row("run2d", "2-D run against bare forward passes", measure)
