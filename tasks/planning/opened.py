"""The image of a plan: as its model sees it, and on the grid of its results."""

from __future__ import annotations

from pathlib import Path

from tasks.imagery.open import open_image
from tasks.imagery.protocol import Image
from tasks.imagery.views.coarsened import coarsened
from tasks.imagery.wanted import Wanted
from tasks.planning.plan import Plan
from tasks.resampling.image import resampled


def open_planned(plan: Plan, *, scratch: Path) -> Image:
    """Opens a plan's image as its model sees it: on the run's lattice, where it has one.

    Raises:
        InputError: It cannot be opened any more.
    """
    return resampled(open_native(plan, scratch=scratch), plan.resampling)


def open_native(plan: Plan, *, scratch: Path) -> Image:
    """Opens a plan's image on the grid of its results; of a coarse stage that asks for them, the means of its pixels.

    Raises:
        InputError: It cannot be opened any more.
    """
    image = open_image(plan.image, scratch=scratch, wanted=Wanted.by(plan.card, plan.parameters.reading))
    return coarsened(image, plan.parameters.coarsen)
