"""What a library must offer to become an engine, and the engine made of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Run = Callable[[Array], Array]
Batching = Literal["exact", "single", "probe"]


class Backend(Protocol):
    """A model loaded by one library, before its batch shape is fixed.

    Attributes:
        name: ``tensorflow``, ``jax``, ``torch``, ``openvino``, ``onnx`` or ``method``.
        precision: ``float32``, ``bfloat16`` or ``int8``.
        library: Library and version.
        batching: Whether a tile's bits are the same at every place of a batch: ``exact`` if known to
            be, ``single`` if known not to be, so that tiles run one by one, ``probe`` if it must be tried.
        callers: How many threads may run at once what it compiled.
    """

    name: str
    precision: str
    library: str
    batching: Batching
    callers: int

    def compile(self, shape: tuple[int, ...]) -> Run:
        """Prepares the model for inputs of exactly ``shape``, ``(batch, *tile, channels)``."""
        ...

    def bare(self, shape: tuple[int, ...]) -> Callable[[], object]:
        """The library's own call alone, its input where it computes and its output left there; to be timed."""
        ...


def compile_exactly(backend: Backend, shape: tuple[int, ...]) -> Run:
    """Compiles for ``shape`` such that a tile's bits never depend on its place or neighbours in the batch.

    Libraries may sum in another order for the last rows of a large product, so a tile's place can
    change its last bits; blocks that meet a tile at different places would then disagree.
    """
    if shape[0] == 1 or backend.batching == "exact":
        return backend.compile(shape)
    if backend.batching == "probe":
        run = backend.compile(shape)
        if _place_free(run, shape):
            return run
    one = backend.compile((1, *shape[1:]))
    return lambda batch: np.concatenate([one(batch[i : i + 1]) for i in range(shape[0])])


def _place_free(run: Run, shape: tuple[int, ...]) -> bool:
    """Runs one tile of noise at every place of a batch: sums in another order would show in some bit."""
    tile = np.random.default_rng(0).normal(size=shape[1:]).astype(np.float32)
    out = run(np.ascontiguousarray(np.broadcast_to(tile, shape)))
    return all(np.array_equal(other, out[0], equal_nan=True) for other in out[1:])


@dataclass(eq=False)
class FixedEngine:
    """An engine (see ``segmodels.engines.base``) that checks its input and lets in as many as it serves."""

    name: str
    precision: str
    library: str
    shape: tuple[int, ...]
    outputs: int
    run: Run
    callers: int = 1
    _turn: threading.Semaphore = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._turn = threading.Semaphore(self.callers)

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
        with self._turn:
            out = self.run(batch)
        wanted = (*self.shape[:-1], self.outputs)
        if out.shape != wanted:
            raise ValueError(f"the model answered with shape {out.shape}, but its card promises {wanted}")
        return out
