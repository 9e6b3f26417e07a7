"""A volume and a small 3-D U-Net: the whole run against bare forward passes."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.against_bare import against_bare
from benchmarks.bundles import bundle
from benchmarks.data import nifti
from benchmarks.harness import Figure, Goal, Row, Settings
from benchmarks.models import FILTERS_3D, OVERLAP_3D

DEPTH, SIDE = 300, 512


def measure(settings: Settings) -> Sequence[Figure]:
    """``segflow run --direct`` and its engine alone, in turns."""
    side, depth = (settings.side(n, axes=3, multiple=4) for n in (SIDE, DEPTH))
    settings.note(f"volume of {side}×{side}×{depth}")
    figure = against_bare(
        settings,
        measure="3-D run, first block to published result: speed over that of bare forward passes",
        image=nifti(settings.work / "images", (depth, side, side)),
        model=bundle(settings, "unet3d"),
        overlap=OVERLAP_3D,
        goal=Goal("≥", 0.90),
        details={
            "volume": f"{side}×{side}×{depth} int16, uncompressed",
            "model": f"3-D U-Net {'-'.join(map(str, FILTERS_3D))}, batch normalisation, 4 classes",
        },
    )
    return [figure]


ROW = Row("run3d", "3-D run against bare forward passes", measure)
