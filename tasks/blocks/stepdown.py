"""Out of memory: from batches to single tiles, from there to the CPU if allowed; tiles done stay done.

A step is taken once per process and kept, so that no later batch runs into the same wall. A
tile's logits do not depend on batches (engines guarantee that); those of the CPU may differ in
their last bits, which is why that step must be asked for.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segmodels.engines.base import Engine
from tasks.files import atomic_write

logger = logging.getLogger(__name__)

#: How libraries call it; their classes are not imported for it. ONNX Runtime's error is no RuntimeError.
_CLASSES = ("ResourceExhaustedError", "OutOfMemoryError")
_WORDS = ("resource_exhausted", "out of memory", "out_of_memory", "bad_alloc", "failed to allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or what caused it, says that memory ran out, on the host or on a GPU."""
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        if isinstance(at, MemoryError) or any(c.__name__ in _CLASSES for c in type(at).__mro__):
            return True
        says = isinstance(at, RuntimeError | OSError) or type(at).__name__ == "RuntimeException"
        if says and any(w in str(at).lower() for w in _WORDS):
            return True
        seen.add(id(at))
        at = at.__cause__ or at.__context__
    return any(w in str(error).lower() for w in _WORDS[:1])


@dataclass(frozen=True)
class Step:
    """One way to run the model.

    Attributes:
        says: What it is, for the sentence: ``in batches of 8``, ``tile by tile``, ``on the CPU``.
        batch: Tiles a forward pass takes.
        open: Opens the engine for that batch.
    """

    says: str
    batch: int
    open: Callable[[], Engine]


class SteppingEngine:
    """An engine (see ``segmodels.engines.base``) that takes the next step when memory runs out.

    Args:
        steps: From the fastest to the most frugal; the first is opened at once.

    Raises:
        ModelError: The first step that has memory enough cannot be opened.
        MemoryError: None has, or whatever the library raises then.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = list(steps)
        self._at = 0
        self._lock = threading.Lock()
        self.taken: tuple[str, ...] = ()
        self._engine = self._opened()
        self.name, self.precision = self._engine.name, self._engine.precision
        self.library, self.callers = self._engine.library, self._engine.callers

    def logits(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Runs one batch of the first step's shape, in smaller ones if it must be."""
        with self._lock:  # a step being taken changes both
            at, engine = self._at, self._engine
        while True:
            try:
                return _in_parts(engine, self._steps[at].batch, batch)
            except Exception as error:
                if not is_out_of_memory(error) or at == len(self._steps) - 1:
                    raise
                at, engine = self._after(at, error)

    def _after(self, at: int, error: Exception) -> tuple[int, Engine]:
        """The step after ``at``; several threads that fail together take it once."""
        with self._lock:
            if self._at == at:
                self._down(error)
                self._engine = self._opened()
            return self._at, self._engine

    def _opened(self) -> Engine:
        while True:
            try:
                return self._steps[self._at].open()
            except Exception as error:
                if not is_out_of_memory(error) or self._at == len(self._steps) - 1:
                    raise
                self._down(error)

    def _down(self, error: Exception) -> None:
        before, self._at = self._steps[self._at], self._at + 1
        sentence = f"memory ran out {before.says} ({type(error).__name__}): the model goes on {self._steps[self._at].says}"
        self.taken = (*self.taken, sentence)
        logger.warning("%s", sentence)


def _in_parts(engine: Engine, size: int, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    if size == len(batch):
        return engine.logits(batch)
    parts = [engine.logits(np.ascontiguousarray(batch[i : i + size])) for i in range(0, len(batch), size)]
    return np.concatenate(parts)


def leave_notes(folder: Path, engine: Engine) -> None:
    """Leaves the steps that an engine took in the run's folder, each once, whoever took it.

    Raises:
        OutputError: They cannot be written.
    """
    for sentence in getattr(engine, "taken", ()):
        path = folder / f"{hashlib.sha256(sentence.encode()).hexdigest()[:16]}.note"
        if not path.exists():
            with atomic_write(path) as stream:
                stream.write(sentence.encode())


def read_notes(folder: Path) -> tuple[str, ...]:
    """What :func:`leave_notes` left, sorted."""
    return tuple(sorted(p.read_text() for p in folder.glob("*.note")))
