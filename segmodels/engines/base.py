"""What every engine offers: arrays in, logits out, one fixed batch shape."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt


class Engine(Protocol):
    """A loaded, warmed model.

    Attributes:
        name: ``tensorflow``, ``jax``, ``torch``, ``openvino``, ``onnx`` or ``method``.
        precision: ``float32``, ``bfloat16`` or ``int8``.
        library: Library and version, for provenance (``openvino 2026.4.1``).
        callers: How many threads it serves at once; one more waits for its turn.
    """

    name: str
    precision: str
    library: str
    callers: int

    def logits(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Runs one batch.

        Args:
            batch: ``(batch, *tile, channels)`` float32, normalised, C-contiguous. Always
                the shape the engine was opened with.

        Returns:
            ``(batch, *tile, logits)`` float32, a fresh array.
        """
        ...
