"""What a library must offer to become an engine, and the engine made of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Run = Callable[[Array], Array]


class Backend(Protocol):
    """A model loaded by one library, before its batch shape is fixed.

    Attributes:
        name: ``tensorflow``, ``jax``, ``torch``, ``openvino`` or ``method``.
        precision: ``float32`` or ``bfloat16``.
        library: Library and version.
    """

    name: str
    precision: str
    library: str

    def compile(self, shape: tuple[int, ...]) -> Run:
        """Prepares the model for inputs of exactly ``shape``, ``(batch, *tile, channels)``."""
        ...


@dataclass(eq=False)
class FixedEngine:
    """An engine (see ``segmodels.engines.base``) that checks its input and runs one batch at a time."""

    name: str
    precision: str
    library: str
    shape: tuple[int, ...]
    outputs: int
    run: Run
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def logits(self, batch: Array) -> Array:
        """Runs one batch; may be called from several threads.

        Args:
            batch: ``self.shape``, float32, C-contiguous.

        Returns:
            ``(batch, *tile, logits)`` float32, a fresh array.

        Raises:
            ValueError: If shape, dtype or memory layout differ from what the engine was opened with.
        """
        if batch.shape != self.shape:
            raise ValueError(f"this engine takes batches of shape {self.shape}, not {batch.shape}")
        if batch.dtype != np.float32:
            raise ValueError(f"this engine takes float32 batches, not {batch.dtype}")
        if not batch.flags.c_contiguous:
            raise ValueError("this engine takes C-contiguous batches; use numpy.ascontiguousarray")
        with self._lock:
            out = self.run(batch)
        wanted = (*self.shape[:-1], self.outputs)
        if out.shape != wanted:
            raise ValueError(f"the model answered with shape {out.shape}, but its card promises {wanted}")
        return out
