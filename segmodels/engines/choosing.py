"""What ``auto`` means on this machine: measured once, then remembered in the user's cache.

The choice follows from what is installed, the processor, the GPUs, the bundle, the tile and the batch; all of
these name the cache's file, so that a new version of a library is measured anew and two machines that share
a home do not share a choice.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segmodels.bundles.bundle import Bundle
from segmodels.engines.hardware import cpu_bfloat16, cpu_count, cpu_model, gpu_names, has_nvidia
from segmodels.engines.loading import able_engines, check_names, installed, library_version
from segmodels.engines.measure import Measurement, measure
from segmodels.errors import EngineError

logger = logging.getLogger(__name__)

KERAS = ("tensorflow", "jax", "torch")
#: A coarser precision must be faster than a finer one by this factor to be worth it.
WORTHWHILE = 1.1


@dataclass(frozen=True)
class Choice:
    """An engine and its precision, neither of them ``auto``."""

    engine: str
    precision: str


def choose(
    bundle: Bundle, *, engine: str = "auto", precision: str = "auto", batch: int, tile: tuple[int, ...]
) -> Choice:
    """Decides what ``engine`` and ``precision`` mean for this bundle on this machine.

    Where more than one way is possible, each is measured in a process of its own on a batch of noise, and
    refused unless it agrees with the golden input. Never ``int8``.

    Args:
        bundle: A checked bundle.
        engine: An engine's name, or ``auto``.
        precision: A precision's name, or ``auto``.
        batch: Tiles per batch.
        tile: Tile size, one per model axis.

    Raises:
        EngineError: If a name is wrong, or nothing here reproduces the golden logits.
    """
    check_names(bundle, engine, precision)
    rounds = candidates(bundle, engine, precision)
    every = [choice for choices in rounds for choice in choices]
    if len(every) == 1:
        return every[0]
    file = _cache_file(bundle, rounds, batch, tile)
    known = _read(file, every)
    if known is not None:
        return known
    with _Lock(file.parent):
        known = _read(file, every)  # another process may have measured meanwhile
        if known is not None:
            return known
        choice, measured = _measured(bundle, rounds, batch, tile)
        _write(file, choice, measured)
    return choice


def candidates(bundle: Bundle, engine: str = "auto", precision: str = "auto") -> list[list[Choice]]:
    """What ``auto`` may take, in rounds: a round counts only if everything before it was refused.

    With an NVIDIA GPU every installed library is in the first round. Without one it is OpenVINO alone, the
    fastest on CPUs, so that nothing else need be imported; Keras follows if OpenVINO is missing or refused, on
    the library that ``KERAS_BACKEND`` names if it names one.
    """
    precision = bundle.card.precision or precision
    return [
        [Choice(name, p) for name in names for p in _precisions(name, precision)]
        for names in _engines(able_engines(bundle), engine, precision)
    ]


def _engines(able: tuple[str, ...], engine: str, precision: str) -> list[tuple[str, ...]]:
    if engine != "auto":
        return [(engine,)]
    if precision == "int8" and "openvino" in able:
        return [("openvino",)]  # the only one that computes in it
    if len(able) == 1:
        return [able]
    here = tuple(name for name in able if installed(name))
    if not here:
        return [able[:1]]
    keras = tuple(name for name in here if name in KERAS)
    asked = os.environ.get("KERAS_BACKEND", "")
    keras = (asked,) if asked in keras else keras
    if has_nvidia():
        return [tuple(n for n in here if n not in KERAS) + keras]
    return [names for names in (tuple(n for n in here if n not in KERAS), keras) if names]


def _precisions(engine: str, asked: str) -> tuple[str, ...]:
    """Finest first."""
    if asked != "auto":
        return (asked,)
    if not installed(engine):
        return ("float32",)  # opening it says what to install
    on_cpu = engine in ("openvino", "tensorflow", "torch") and cpu_bfloat16()
    on_gpu = engine in KERAS and has_nvidia()
    return ("float32", "bfloat16") if on_cpu or on_gpu else ("float32",)


def best(measured: Sequence[Measurement]) -> Measurement | None:
    """The fastest that was not refused, where coarser must be clearly faster; None if all were refused."""
    taken: Measurement | None = None
    for m in sorted(measured, key=lambda m: (m.precision != "float32", m.seconds)):
        factor = 1.0 if taken is None or taken.precision == m.precision else WORTHWHILE
        if m.refused is None and (taken is None or m.seconds * factor < taken.seconds):
            taken = m
    return taken


def _measured(
    bundle: Bundle, rounds: list[list[Choice]], batch: int, tile: tuple[int, ...]
) -> tuple[Choice, list[Measurement]]:
    measured: list[Measurement] = []
    for choices in rounds:
        for name in dict.fromkeys(choice.engine for choice in choices):
            precisions = [choice.precision for choice in choices if choice.engine == name]
            logger.info(
                "measuring %s for %s, once for this tile and batch on this machine", name, bundle.card.name
            )
            measured += measure(bundle, name, precisions, batch=batch, tile=tile).rows
        taken = best(measured)
        if taken is not None:
            return Choice(taken.engine, taken.precision), measured
    reasons = "; ".join(f"{m.engine} at {m.precision}: {m.refused}" for m in measured)
    raise EngineError(
        f"No engine on this machine reproduces the golden input of {bundle.path} ({reasons}); "
        "install another engine, or ask the bundle's author."
    )


def _cache_file(bundle: Bundle, rounds: list[list[Choice]], batch: int, tile: tuple[int, ...]) -> Path:
    from platformdirs import user_cache_dir

    names = sorted({choice.engine for choices in rounds for choice in choices})
    key = {
        "bundle": bundle.digest,
        "choices": [[asdict(choice) for choice in choices] for choices in rounds],
        "versions": {name: library_version(name) for name in names},
        "cpu": [cpu_model(), cpu_count()],
        "gpus": [os.environ.get("CUDA_VISIBLE_DEVICES", ""), *gpu_names()],
        "batch": batch,
        "tile": tile,
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return Path(user_cache_dir("segflow")) / "engines" / f"{digest[:32]}.json"


def _read(file: Path, allowed: list[Choice]) -> Choice | None:
    try:
        record = json.loads(file.read_bytes())
        choice = Choice(record["engine"], record["precision"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # missing or damaged: measured again
    return choice if choice in allowed else None


def _write(file: Path, choice: Choice, measured: list[Measurement]) -> None:
    record: dict[str, Any] = {**asdict(choice), "measured": [asdict(m) for m in measured]}
    try:
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=".", delete=False) as stream:
            json.dump(record, stream, indent=1)
        Path(stream.name).replace(file)
    except OSError as error:
        logger.warning("the choice of engine cannot be remembered in %s: %s", file.parent, error.strerror)


class _Lock:
    """One process of this user measures at a time; without a writable cache every one measures for itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: Any = None

    def __enter__(self) -> None:
        from filelock import FileLock

        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self._folder / "measuring.lock")
            self._lock.acquire()
        except OSError as error:
            self._lock = None
            logger.warning("engines are measured at every start: %s (%s)", self._folder, error.strerror)

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.release()
