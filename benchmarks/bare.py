"""``python -m benchmarks.bare``: forward passes and nothing else, by the engine that a run would use."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from flows.environment import prepare_environment


def main() -> None:
    """Opens the engine, warms it, runs batches of noise; prints a JSON object.

    The last batch counts whole: an engine computes its fixed shape whatever is in it.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--tile", type=int, nargs="+", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--tiles", type=int, required=True)
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
            bundle, engine=asked.engine, precision=asked.precision, batch=asked.batch, tile=tile
        )
    except ModelError as reason:
        print(json.dumps({"refused": str(reason)}))
        return
    shape = (asked.batch, *tile, len(bundle.card.channels))
    batch = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    for _ in range(2):
        engine.logits(batch)
    passes = -(-asked.tiles // asked.batch)
    begin = time.perf_counter()
    for _ in range(passes):
        engine.logits(batch)
    answer = {
        "seconds": time.perf_counter() - begin,
        "tiles": passes * asked.batch,
        "engine": f"{engine.library} {engine.precision}",
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
