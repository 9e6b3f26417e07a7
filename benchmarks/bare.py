"""``python -m benchmarks.bare``: forward passes and nothing else, by the engine that a run would use, as it uses it."""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from flows.environment import prepare_environment

if TYPE_CHECKING:
    from segmodels.engines.base import Engine


def _run(pool: ThreadPoolExecutor, engine: Engine, batch: npt.NDArray[np.float32], passes: int) -> None:
    for future in [pool.submit(engine.logits, batch) for _ in range(passes)]:
        future.result()


def main() -> None:
    """Opens the engine, warms it, runs batches of noise; prints a JSON object.

    The last batch counts whole: an engine computes its fixed shape whatever is in it.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--tile", type=int, nargs="+", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--tiles", type=int, required=True)
    parser.add_argument(
        "--callers", type=int, default=2, help="threads that call the engine, as a run's workers"
    )
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--precision", default="auto")
    asked = parser.parse_args()
    prepare_environment()

    from segmodels.bundles.bundle import load_bundle
    from segmodels.engines.opening import open_engine
    from segmodels.errors import ModelError

    bundle = load_bundle(asked.bundle)
    tile = tuple(asked.tile)
    try:
        engine = open_engine(
            bundle,
            engine=asked.engine,
            precision=asked.precision,
            batch=asked.batch,
            tile=tile,
            callers=asked.callers,
        )
    except ModelError as reason:
        print(json.dumps({"refused": str(reason)}))
        return
    shape = (asked.batch, *tile, len(bundle.card.channels))
    batch = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    passes = -(-asked.tiles // asked.batch)
    with ThreadPoolExecutor(engine.callers) as pool:
        run = partial(_run, pool, engine, batch)
        run(2 * engine.callers)
        begin = time.perf_counter()
        run(passes)
        seconds = time.perf_counter() - begin
    answer = {
        "seconds": seconds,
        "tiles": passes * asked.batch,
        "engine": f"{engine.library} {engine.precision}",
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
