"""Losses by the names that a training's configuration uses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import keras

from segmodels.losses.binary import BinaryCrossEntropy
from segmodels.losses.boundary import Boundary
from segmodels.losses.combined import DiceCrossEntropy
from segmodels.losses.cross_entropy import SparseCrossEntropy
from segmodels.losses.dice import SoftDice
from segmodels.losses.focal import Focal
from segmodels.losses.generalised_dice import GeneralisedDice
from segmodels.losses.lovasz import LovaszSoftmax
from segmodels.losses.tversky import Tversky

LOSSES: Mapping[str, Callable[..., keras.losses.Loss]] = MappingProxyType(
    {
        "binary_cross_entropy": BinaryCrossEntropy,
        "boundary": Boundary,
        "cross_entropy": SparseCrossEntropy,
        "dice": SoftDice,
        "dice_cross_entropy": DiceCrossEntropy,
        "focal": Focal,
        "generalised_dice": GeneralisedDice,
        "lovasz": LovaszSoftmax,
        "tversky": Tversky,
    }
)


def list_losses() -> list[str]:
    """Names that :func:`make_loss` knows, sorted."""
    return sorted(LOSSES)


def make_loss(name: str, **options: Any) -> keras.losses.Loss:
    """Builds a loss.

    Args:
        name: One of :func:`list_losses`.
        options: The loss's own settings.

    Raises:
        ValueError: The name, or an option, is unknown.
    """
    if name not in LOSSES:
        raise ValueError(f"there is no loss {name!r}; there are {', '.join(list_losses())}")
    known = [p for p in inspect.signature(LOSSES[name]).parameters if p != "name"]
    for option in options:
        if option not in known:
            raise ValueError(f"the loss {name} has no option {option!r}; it has {', '.join(known)}")
    return LOSSES[name](**options)
