"""``python benchmarks/engines.py``: Mpixel/s of the U-Net 32…512 on every engine that is installed here.

Each repetition runs all of them in turn, every one in a process of its own; the table shows medians, and the
ratio to TensorFlow in float32 of the same repetition.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import tempfile
from pathlib import Path

import numpy as np

from segmodels.bundles.bundle import Bundle
from segmodels.bundles.card import Card, ChannelCard, ClassCard
from segmodels.bundles.write import write_bundle
from segmodels.engines.hardware import cpu_bfloat16
from segmodels.engines.loading import ABLE, installed
from segmodels.engines.measure import measure

REFERENCE = ("tensorflow", "float32")


def make_bundle(folder: Path, *, tile: int) -> Bundle:
    """An untrained U-Net of three channels and two classes."""
    import keras

    from segmodels.architectures.unet import unet

    keras.utils.set_random_seed(0)
    card = Card(
        name="unet-32-512",
        ndims=(2,),
        classes=tuple(ClassCard(name=n, code=i, colour="#102030") for i, n in enumerate(("no", "yes"))),
        channels=tuple(ChannelCard(name=n) for n in ("red", "green", "blue")),
        tile=(tile, tile),
        stride=16,
        receptive_radius=(0, 0),  # not asked for here
        agreement=0.0,  # the classes of an untrained network are a matter of rounding
    )
    golden = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype(np.float32)
    return write_bundle(folder, card=card, model=unet(channels=3, logits=2), golden_input=golden)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where to save the table")
    asked = parser.parse_args()
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    rates: dict[tuple[str, str], list[float]] = {}
    bare: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder) / "unet", tile=asked.tile)
        for _ in range(asked.repetitions):
            for engine in (name for name in ABLE["keras"] if installed(name)):
                coarse = ["bfloat16"] if cpu_bfloat16() and engine != "jax" else []
                coarse += ["int8"] if engine == "openvino" else []
                found = measure(
                    bundle,
                    engine,
                    ["float32", *coarse],
                    batch=1,
                    tile=bundle.card.tile,
                    bare=True,
                    environment={"CUDA_VISIBLE_DEVICES": "-1"},
                )
                for m in found.rows:
                    if m.refused is not None:
                        raise SystemExit(f"{engine} at {m.precision} cannot be measured: {m.refused}")
                    key = (engine, m.precision)
                    rates.setdefault(key, []).append(math.prod(bundle.card.tile) / m.seconds / 1e6)
                    bare.setdefault(key, []).append((m.bare_seconds or 0.0) / m.seconds)
    rows = [
        {
            "engine": engine,
            "precision": precision,
            "mpixels_per_second": statistics.median(values),
            "ratio": statistics.median(v / r for v, r in zip(values, rates[REFERENCE], strict=True)),
            "bare_fraction": statistics.median(bare[engine, precision]),
        }
        for (engine, precision), values in rates.items()
    ]
    print(f"{'engine':12}{'precision':12}{'Mpixel/s':>10}{'ratio':>8}{'of bare':>9}")
    for row in rows:
        print(
            f"{row['engine']:12}{row['precision']:12}{row['mpixels_per_second']:10.2f}{row['ratio']:8.2f}"
            f"{row['bare_fraction']:9.2f}"
        )
    if asked.json:
        asked.json.write_text(
            json.dumps({"tile": asked.tile, "rows": rows}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
