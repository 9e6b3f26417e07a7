"""Which lattice a run goes on: the card's spacing where the image has another."""

from __future__ import annotations

from segmodels.bundles.card import Card
from tasks.evaluation.grids import spacing_of
from tasks.imagery.protocol import ImageInfo
from tasks.resampling.geometry import steps_to
from tasks.resampling.lattice import Resampling

#: A lattice finer than the image's pixels by more than this holds nothing of the detail that the model was made for.
FINEST = 4.0


def resampling_of(info: ImageInfo, card: Card, *, spacing: str) -> Resampling | None:
    """The lattice on which a model sees an image; None where it sees the image's own pixels.

    Args:
        info: Of the image.
        card: Of the model.
        spacing: ``card`` for the model's spacing, ``native`` for the image's own.
    """
    if spacing == "native" or card.spacing is None:
        return None
    axes = min(len(card.spacing), sum(a != "t" for a in info.axes))
    have, unit = spacing_of(info, axes=axes)
    if unit == "pixels":
        return None
    lead = len(info.shape) - len(have)
    steps = (1.0,) * lead + steps_to(have, card.spacing[-len(have) :], ndim=len(have))
    # The two ends of a globe meet between whole pixels alone.
    if all(s == 1 for s in steps) or any(w and s != 1 for w, s in zip(info.wraps, steps, strict=True)):
        return None
    return Resampling(info.shape, steps, have, unit)


def too_coarse(resampling: Resampling, card: Card) -> tuple[str, ...]:
    """A sentence if an image's pixels are so large that no lattice brings back what the model looks for."""
    if min(resampling.steps) * FINEST >= 1:
        return ()
    return (
        f"the image is {resampling.say()}: model {card.name} was made for detail that pixels more than "
        f"{FINEST:g} times as large do not hold; give a finer image, or expect worse results",
    )
