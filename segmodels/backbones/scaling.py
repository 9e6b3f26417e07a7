"""Widths times a factor, and strides turned into dilation."""

from __future__ import annotations

from dataclasses import dataclass

#: No layer is narrower.
NARROWEST = 4


def scaled(width: int, factor: float) -> int:
    """``width`` times ``factor``, rounded; at least :data:`NARROWEST` unless ``width`` is less."""
    return max(min(width, NARROWEST), round(width * factor))


@dataclass(frozen=True)
class Dilation:
    """How a network of total stride 32 keeps a finer grid (Chen et al. 2017, "atrous").

    What would stride beyond ``output_stride`` strides 1, and everything behind it is dilated instead: on every
    n-th pixel the features are those of the undilated network.

    Attributes:
        output_stride: 8, 16 or 32.
    """

    output_stride: int

    def __post_init__(self) -> None:
        if self.output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride is 8, 16 or 32, not {self.output_stride}")

    def stride(self, stage: int) -> int:
        """What the layer strides that leads to ``C{stage}``."""
        return 2 if 2**stage <= self.output_stride else 1

    def rate(self, stage: int) -> int:
        """Dilation of a layer that works on ``C{stage}``'s grid."""
        return max(1, 2**stage // self.output_stride)
