"""One library measured in a process of its own: verified on the golden input, then timed on a batch.

A process each, because Keras runs on one library per process, because the memory it took is given back, and
because a library that crashes costs only its own candidacy.
``python -m segmodels.engines.measure BUNDLE DIGEST ENGINE PRECISIONS BATCH TILE BARE`` prints one JSON object.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segmodels.bundles.bundle import Bundle
from segmodels.engines.backend import Run
from segmodels.errors import ModelError

#: A round runs every precision once; rounds end after this many, or when this much time is spent.
ROUNDS = 7
SECONDS = 3.0
#: A library that takes longer than this to load, verify and run is not worth waiting for.
PATIENCE = 900


@dataclass(frozen=True)
class Measurement:
    """One way of running a bundle.

    Attributes:
        engine: Its engine.
        precision: Its precision.
        library: Library and version; empty if it could not be loaded.
        seconds: Fastest time of one batch, arrays in, logits out; infinite if refused.
        bare_seconds: Fastest time of the library's own call alone, input and output left where it computes;
            None if it was not asked for.
        refused: Why it must not be used, or None.
    """

    engine: str
    precision: str
    library: str = ""
    seconds: float = math.inf
    bare_seconds: float | None = None
    refused: str | None = None


@dataclass(frozen=True)
class Measured:
    """What one process found.

    Attributes:
        devices: What the library sees, by its own names.
        rows: One per precision, in the order asked for.
    """

    devices: tuple[str, ...]
    rows: tuple[Measurement, ...]


def measure(
    bundle: Bundle,
    engine: str,
    precisions: Sequence[str],
    *,
    batch: int,
    tile: Sequence[int],
    bare: bool = False,
    environment: dict[str, str] | None = None,
) -> Measured:
    """Measures one engine in a new process.

    Args:
        bundle: A checked bundle.
        engine: An engine's name, not ``auto``.
        precisions: Precisions to compare; their runs take turns.
        batch: Tiles per batch.
        tile: Tile size, one per model axis.
        bare: Whether the library's own call is timed as well.
        environment: Variables set for the process, for example to show it one GPU.

    Returns:
        What was found. A process that fails refuses every precision; nothing is raised.
    """
    import segmodels

    paths = [str(Path(segmodels.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p), **(environment or {})}
    variables["TF_CPP_MIN_LOG_LEVEL"] = "3"
    # -P: files in the working directory must not stand for modules of the same name.
    command = [sys.executable, "-P", "-m", "segmodels.engines.measure", str(bundle.path), bundle.digest]
    command += [engine, ",".join(precisions), str(batch), ",".join(map(str, tile)), str(int(bare))]
    try:
        done = subprocess.run(
            command,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        reason = f"it did not answer within {PATIENCE} s"
        return Measured((), tuple(Measurement(engine, p, refused=reason) for p in precisions))
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
        return Measured(tuple(answer["devices"]), tuple(Measurement(**row) for row in answer["rows"]))
    except (IndexError, ValueError, KeyError, TypeError):
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1] if lines else f"its process ended with code {done.returncode}"
        return Measured((), tuple(Measurement(engine, p, refused=reason) for p in precisions))


def main(
    path: str, digest: str, engine: str, precisions: str, batch: str, tile: str, bare: str
) -> dict[str, Any]:
    """Measures in this process."""
    from segmodels.bundles.bundle import load_bundle

    bundle = load_bundle(path)
    if bundle.digest != digest:
        raise SystemExit(f"{path} changed while it was being measured; run again")
    shape = (int(batch), *map(int, tile.split(",")), len(bundle.card.channels))
    rows, calls = [], {}
    for precision in precisions.split(","):
        row, runs = _prepare(bundle, engine, precision, shape, bare=bare == "1")
        rows.append(row)
        calls.update({(precision, kind): run for kind, run in runs.items()})
    best = _time(calls)
    timed = [
        row
        if row.refused
        else Measurement(
            row.engine,
            row.precision,
            row.library,
            best[row.precision, "whole"],
            best.get((row.precision, "bare")),
        )
        for row in rows
    ]
    return {"devices": _devices(engine), "rows": [asdict(row) for row in timed]}


def _prepare(
    bundle: Bundle, engine: str, precision: str, shape: tuple[int, ...], *, bare: bool
) -> tuple[Measurement, dict[str, Any]]:
    from segmodels.engines.backend import FixedEngine, compile_exactly
    from segmodels.engines.loading import golden_problem, load_backend

    library = ""
    try:
        backend = load_backend(bundle, engine, precision)
        library = backend.library
        problem = golden_problem(bundle, backend)
        if problem is not None:
            return Measurement(engine, precision, library, refused=problem), {}
        run: Run = compile_exactly(backend, shape)
        noise = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        opened = FixedEngine(engine, precision, library, shape, bundle.card.logits, run)
        runs: dict[str, Any] = {"whole": lambda: opened.logits(noise)}
        if bare:
            runs["bare"] = backend.bare(shape)
        for call in runs.values():
            call()  # the first run of any library is its slowest
    except ModelError as error:
        return Measurement(engine, precision, library, refused=str(error)), {}
    except Exception as error:  # whatever a foreign library raises refuses it, and is reported
        return Measurement(engine, precision, library, refused=f"{type(error).__name__}: {error}"[:300]), {}
    return Measurement(engine, precision, library), runs


def _time(calls: dict[tuple[str, str], Any]) -> dict[tuple[str, str], float]:
    """The fastest of several rounds in which all take turns: what disturbs one round disturbs all alike."""
    best = dict.fromkeys(calls, math.inf)
    begin = time.perf_counter()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
        if time.perf_counter() - begin > SECONDS:
            break
    return best


def _devices(engine: str) -> list[str]:
    if engine in ("tensorflow", "jax", "torch"):
        from segmodels.engines.on_keras import devices

        return devices(engine)
    if engine == "openvino":
        from segmodels.engines.on_openvino import import_openvino

        return [str(d) for d in import_openvino().Core().available_devices]
    if engine == "onnx":
        from segmodels.engines.on_onnx import import_onnxruntime

        return [str(d) for d in import_onnxruntime().get_available_providers()]
    return ["CPU"]


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
