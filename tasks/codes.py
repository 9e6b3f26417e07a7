"""Codes of a mask: one per class, and one per reason for having no class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segmodels.bundles.card import RESERVED_UINT8, RESERVED_UINT16, Card

#: Reasons for having no class, counted down from the dtype's maximum.
SPECIAL = ("nodata", "failed", "unobserved")


def special_codes(*, wide: bool) -> dict[str, int]:
    """Codes of nodata, failed and unobserved pixels (255, 254, 253 in a uint8 mask)."""
    top = 65535 if wide else 255
    return {name: top - i for i, name in enumerate(SPECIAL)}


def needs_wide(highest: int) -> bool:
    """Whether a mask whose highest class code this is must be uint16."""
    return highest >= RESERVED_UINT8


@dataclass(frozen=True)
class Codes:
    """Codes of one model's masks.

    Attributes:
        classes: Of the model's classes, ascending.
        wide: uint16 instead of uint8.
    """

    classes: tuple[int, ...]
    wide: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint16 if self.wide else np.uint8)

    @property
    def unobserved(self) -> int:
        return RESERVED_UINT16 if self.wide else RESERVED_UINT8

    @property
    def failed(self) -> int:
        return self.unobserved + 1

    @property
    def nodata(self) -> int:
        return self.unobserved + 2

    def of_status(self) -> npt.NDArray[np.uint16]:
        """Codes by status (``tasks.tiling.kernels.FAILED`` …)."""
        return np.array([0, self.failed, self.unobserved, self.nodata], np.uint16)


def codes_of(card: Card) -> Codes:
    """The codes a card's masks use."""
    return Codes(classes=tuple(c.code for c in card.classes), wide=card.wide)
