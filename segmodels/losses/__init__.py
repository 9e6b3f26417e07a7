"""Losses on logits and integer labels, one idea a file.

All take labels ``(batch, *spatial)`` of class codes 0…C-1 or the ignore label, and logits
``(batch, *spatial, C)``, compute in float32 whatever they are given, and answer with one
number per batch. A single logit (a sigmoid head) stands for two classes, with codes 0 and 1.
Only :mod:`keras.ops`, so they run on every backend. :func:`make_loss` builds one by name.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segmodels.losses.binary import BinaryCrossEntropy
    from segmodels.losses.boundary import Boundary
    from segmodels.losses.combined import DiceCrossEntropy, WeightedSum
    from segmodels.losses.cross_entropy import SparseCrossEntropy
    from segmodels.losses.deep_supervision import DeepSupervision
    from segmodels.losses.dice import SoftDice
    from segmodels.losses.focal import Focal
    from segmodels.losses.generalised_dice import GeneralisedDice
    from segmodels.losses.labels import IGNORE
    from segmodels.losses.lovasz import LovaszSoftmax
    from segmodels.losses.names import list_losses, make_loss
    from segmodels.losses.tversky import Tversky

_HOMES = {
    "BinaryCrossEntropy": "binary",
    "Boundary": "boundary",
    "DeepSupervision": "deep_supervision",
    "DiceCrossEntropy": "combined",
    "Focal": "focal",
    "GeneralisedDice": "generalised_dice",
    "IGNORE": "labels",
    "LovaszSoftmax": "lovasz",
    "SoftDice": "dice",
    "SparseCrossEntropy": "cross_entropy",
    "Tversky": "tversky",
    "WeightedSum": "combined",
    "list_losses": "names",
    "make_loss": "names",
}

__all__ = [
    "BinaryCrossEntropy",
    "Boundary",
    "DeepSupervision",
    "DiceCrossEntropy",
    "Focal",
    "GeneralisedDice",
    "IGNORE",
    "LovaszSoftmax",
    "SoftDice",
    "SparseCrossEntropy",
    "Tversky",
    "WeightedSum",
    "list_losses",
    "make_loss",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'segmodels.losses' has no attribute {name!r}")
    return getattr(import_module(f"segmodels.losses.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
