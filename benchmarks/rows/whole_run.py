"""A large image and a U-Net, in two and three dimensions: the whole run against bare forward passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.against_bare import against_bare
from benchmarks.bundles import bundle
from benchmarks.data import geotiff, nifti
from benchmarks.harness import Figure, Goal, Row, Settings
from benchmarks.models import FILTERS_2D, FILTERS_3D, OVERLAP_2D, OVERLAP_3D

SIDE_2D = 8192
DEPTH, SIDE_3D = 300, 512


@dataclass(frozen=True)
class Case:
    """What one of the two rows runs.

    Attributes:
        name: Of its image, for the terminal.
        write: Makes the image in a folder.
        details: Of the image, by the name they have in the saved table.
        model: Name of the bundle.
        network: The model in words.
        overlap: Of its tiles.
    """

    name: str
    write: Callable[[Path], Path]
    details: dict[str, str]
    model: str
    network: str
    overlap: float


def raster(settings: Settings) -> Case:
    """A large raster of three bands."""
    side = settings.side(SIDE_2D)
    return Case(
        name=f"image of {side}² × 3",
        write=lambda folder: geotiff(folder, side),
        details={"image": f"{side}² × 3 uint8"},
        model="unet2d",
        network=f"U-Net {'-'.join(map(str, FILTERS_2D))}, batch normalisation, 2 classes",
        overlap=OVERLAP_2D,
    )


def volume(settings: Settings) -> Case:
    """A volume of one channel."""
    side, depth = (settings.side(n, axes=3, multiple=4) for n in (SIDE_3D, DEPTH))
    return Case(
        name=f"volume of {side}×{side}×{depth}",
        write=lambda folder: nifti(folder, (depth, side, side)),
        details={"volume": f"{side}×{side}×{depth} int16, uncompressed"},
        model="unet3d",
        network=f"3-D U-Net {'-'.join(map(str, FILTERS_3D))}, batch normalisation, 4 classes",
        overlap=OVERLAP_3D,
    )


def row(name: str, dimensions: str, case_of: Callable[[Settings], Case]) -> Row:
    """``segflow run --direct`` and its engine alone, in turns."""

    def measure(settings: Settings) -> Sequence[Figure]:
        case = case_of(settings)
        settings.note(case.name)
        figure = against_bare(
            settings,
            measure=f"{dimensions} run, first block to published result: speed over that of bare forward passes",
            image=case.write(settings.work / "images"),
            model=bundle(settings, case.model),
            overlap=case.overlap,
            goal=Goal("≥", 0.90),
            details={**case.details, "model": case.network},
        )
        return [figure]

    return Row(name, f"{dimensions} run against bare forward passes", measure)
