"""Where a model that is not Keras' has its channels: PyTorch puts them first, TensorFlow last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Dims = Sequence[int | None]


@dataclass(frozen=True)
class Layout:
    """Whether channels are the second axis, of what enters and of what leaves.

    Attributes:
        inputs: Of the input; else they are its last.
        outputs: Of the output.
    """

    inputs: bool = False
    outputs: bool = False

    def enter(self, batch: Array) -> Array:
        """``(b, *tile, channels)`` as the model takes it; C-contiguous."""
        return np.ascontiguousarray(np.moveaxis(batch, -1, 1)) if self.inputs else batch

    def leave(self, out: npt.NDArray[Any]) -> Array:
        """What the model gave as ``(b, *tile, logits)``, a fresh float32 array."""
        return np.array(np.moveaxis(out, 1, -1) if self.outputs else out, np.float32, order="C")

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """``(b, *tile, channels)`` in the model's order."""
        return (shape[0], shape[-1], *shape[1:-1]) if self.inputs else shape


def find_layout(inputs: Dims, outputs: Dims, *, channels: int, logits: int) -> Layout:
    """Finds the layout from what is known of sizes; None is a free one.

    Where both ends of a shape fit, or neither says anything, the other shape decides; where that is silent
    too, channels are last.
    """
    enters, leaves = _first(inputs, channels), _first(outputs, logits)
    known = enters if enters is not None else leaves
    known = bool(known)
    return Layout(known if enters is None else enters, known if leaves is None else leaves)


def _first(dims: Dims, wanted: int) -> bool | None:
    if len(dims) < 3:
        return None
    first, last = dims[1] == wanted, dims[-1] == wanted
    return None if first == last else first
