"""What an image tells about the model that is made for it, without any file format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from segmodels.normalise import ChannelStatistics


class LikeStatistics(ChannelStatistics, Protocol):
    """Statistics of one channel over the valid pixels of the whole image.

    Attributes:
        minimum: Least value.
        maximum: Greatest value.
    """

    minimum: float
    maximum: float


@dataclass(frozen=True)
class Like:
    """An image of the kind that the model will see.

    Attributes:
        name: How people call it.
        field: ``earth`` or ``medical``.
        ndim: Spatial axes.
        channels: Their names.
        dtype: numpy's name of its values.
        spacing: mm per spatial axis, slowest first; None for rasters.
        statistics: One per channel.
        middle: Gives the values ``(*shape, channels)`` and the validity ``(*shape)`` of a window of at most that
            shape in the image's middle.
    """

    name: str
    field: Literal["earth", "medical"]
    ndim: int
    channels: tuple[str, ...]
    dtype: str
    spacing: tuple[float, ...] | None
    statistics: Sequence[LikeStatistics]
    middle: Callable[[tuple[int, ...]], tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]]
