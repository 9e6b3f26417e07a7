"""``python -m benchmarks.peers.train_ours FOLDER SEED``: our trainer on saved tiles, then masks of the validation images."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.peers.recipe import (
    ARCHITECTURE,
    BATCH,
    CLASSES,
    CLIP,
    LEARNING_RATE,
    OPTIONS,
    UNTIMED,
    WARMUP,
    WEIGHT_DECAY,
)


class Saved:
    """Tiles in the order of their file (a :class:`segmodels.training.prefetch.Source`)."""

    def __init__(self, folder: Path, seed: int) -> None:
        images = np.load(folder / f"images-{seed}.npy", mmap_mode="r")
        labels = np.load(folder / f"labels-{seed}.npy", mmap_mode="r")
        self.steps = len(images)
        self._images, self._labels = (
            images.reshape(-1, *images.shape[2:]),
            labels.reshape(-1, *labels.shape[2:]),
        )
        self._next = 0

    def draw(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """The next tile; after the last one the first, which is prepared but not used."""
        n = self._next % len(self._images)
        self._next += 1
        return self._images[n], self._labels[n]

    def skip(self, n: int) -> None:
        """Goes on as if ``n`` tiles had been drawn."""
        self._next += n


def main() -> None:
    """Trains, predicts, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("seed", type=int)
    asked = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from segmodels.training.loop import seed_everything

    seed_everything(asked.seed)
    import keras

    from segmodels.losses import make_loss
    from segmodels.registry import build
    from segmodels.training.precision import dtype_policy
    from segmodels.training.schedule import Pace
    from segmodels.training.trainer import Settings, fit

    with dtype_policy("mixed_bfloat16"):
        network = build(ARCHITECTURE, channels=3, classes=CLASSES, ndim=2, **OPTIONS)
    source = Saved(asked.folder, asked.seed)
    out = asked.folder / f"ours-{asked.seed}"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    times: list[float] = []
    begin = time.perf_counter()
    fit(
        network,
        source,
        loss=make_loss("dice_cross_entropy"),
        settings=Settings(
            pace=Pace(steps=source.steps, learning_rate=LEARNING_RATE, warmup=WARMUP),
            batch=BATCH,
            weight_decay=WEIGHT_DECAY,
            clip=CLIP,
            every=source.steps,
            keep="last",
            seed=asked.seed,
        ),
        folder=out,
        progress=lambda share, step, loss: times.append(time.perf_counter()),
    )
    shutil.rmtree(out)
    _predict(network, asked.folder, asked.seed)
    timed = times[-1] - times[UNTIMED - 1]
    print(
        json.dumps(
            {
                "seconds": timed,
                "before": times[UNTIMED - 1] - begin,
                "parameters": int(sum(np.prod(w.shape) for w in network.trainable_weights)),
                "versions": f"Keras {keras.__version__} on {keras.backend.backend()}",
            }
        )
    )


def _predict(network: Any, folder: Path, seed: int) -> None:
    from segmodels.training.scoring import compiled

    run = compiled(network)
    with np.load(folder / "validation.npz") as images:
        masks = {name: run(images[name][None])[0].argmax(-1).astype(np.uint8) for name in images.files}
    np.savez(folder / f"ours-{seed}.npz", **masks)


if __name__ == "__main__":
    main()
