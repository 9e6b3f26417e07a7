"""``python -m benchmarks.peers.tiles DATA FOLDER SEED STEPS``: the very arrays that both sides train on and are scored on.

Augmented training tiles in their order, ``images-SEED.npy`` (float32, channels last) and ``labels-SEED.npy``
(int16); ``rates.npy``, the learning rate of every step; ``check.npz``, a value of the loss;
``validation.npz``, whole normalised images padded to the networks' stride, and ``truth.npz``. The data set's
test split is left alone.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.peers.recipe import (
    BATCH,
    CLASSES,
    LEARNING_RATE,
    PATCH,
    STRIDE,
    VALIDATION,
    WARMUP,
)
from segmodels.normalise import Normaliser
from segmodels.training.named_steps import make_steps
from segmodels.training.prefetch import prefetched
from segmodels.training.schedule import Pace
from tasks.datasets.dataset import Dataset
from tasks.datasets.open import open_dataset
from tasks.datasets.pair import open_pair
from tasks.datasets.splits import Part
from tasks.training.config import Config, read_config
from tasks.training.items import Split, split_items, survey
from tasks.training.recipes import recipes
from tasks.training.tiles import Tiles, positions_of


def main() -> None:
    """Writes the files of one seed; what does not depend on it is written once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("seed", type=int)
    parser.add_argument("steps", type=int)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    config = read_config(recipes()["nuclei"])
    data = config.data.model_copy(update={"path": asked.data, "validation": VALIDATION})
    config = config.model_copy(update={"data": data})
    with tempfile.TemporaryDirectory() as scratch:
        dataset = open_dataset(asked.data, layout=data.layout, scratch=Path(scratch))
        # seed 0 always: all trainings are scored on the same images
        split = split_items(dataset, data, seed=0, scratch=Path(scratch))
        normalisers = _normalisers(config, dataset, split, Path(scratch))
        if not (asked.folder / "truth.npz").is_file():
            _write_check(asked.folder)
            _write_validation(asked.folder, dataset, split.val, normalisers, Path(scratch))
        _write_rates(asked.folder, asked.steps)
        _write_tiles(asked, config, dataset, split, normalisers, Path(scratch))
    print(json.dumps({"train": len(split.train), "validation": len(split.val)}))


def _normalisers(config: Config, dataset: Dataset, split: Split, scratch: Path) -> dict[str, Normaliser]:
    parts = (*split.train, *split.val)
    return {
        part.item.id: survey(dataset, part.item, normalise=config.normalise, scratch=scratch).normaliser
        for part in parts
    }


def _write_tiles(
    asked: argparse.Namespace,
    config: Config,
    dataset: Dataset,
    split: Split,
    normalisers: dict[str, Normaliser],
    scratch: Path,
) -> None:
    source = Tiles(
        dataset,
        split.train,
        normalisers=normalisers,
        patch=(PATCH, PATCH),
        seed=asked.seed,
        codes=[c.code for c in dataset.classes],
        balance_by=config.data.balance_by,
        shares=config.data.shares,
        focus={},
        scratch=scratch,
    )
    shape = (asked.steps, BATCH, PATCH, PATCH)
    parts = [asked.folder / f".{name}-{asked.seed}.npy.part" for name in ("images", "labels")]
    images = np.lib.format.open_memmap(parts[0], "w+", np.float32, (*shape, 3))
    labels = np.lib.format.open_memmap(parts[1], "w+", np.int16, shape)
    with prefetched(source, batch=BATCH, augment=make_steps(config.augment), seed=asked.seed) as batches:
        for step in range(asked.steps):
            images[step], labels[step] = next(batches)
    source.close()
    images.flush()
    labels.flush()
    for part in parts:
        part.replace(part.with_name(part.stem[1:]))


def _write_rates(folder: Path, steps: int) -> None:
    pace = Pace(steps=steps, learning_rate=LEARNING_RATE, warmup=WARMUP)
    np.save(folder / "rates.npy", np.array([pace.rate(step, 0.0) for step in range(steps)]))


def _write_validation(
    folder: Path, dataset: Dataset, parts: tuple[Part, ...], normalisers: dict[str, Normaliser], scratch: Path
) -> None:
    codes = np.asarray([c.code for c in dataset.classes], np.int16)
    images: dict[str, npt.NDArray[Any]] = {}
    truth: dict[str, npt.NDArray[Any]] = {}
    for part in parts:
        pair = open_pair(dataset, part.item, scratch=scratch)
        whole = tuple(slice(0, n) for n in pair.shape)
        image = normalisers[part.item.id](pair.image(whole), pair.valid(whole))
        pad = [(0, -n % STRIDE) for n in pair.shape] + [(0, 0)]
        images[part.item.id] = np.pad(image, pad, mode="symmetric")
        truth[part.item.id] = positions_of(pair.truth(whole), codes)
        pair.close()
    np.savez(folder / "validation.npz", **images)  # type: ignore[arg-type]
    np.savez(folder / "truth.npz", **truth)  # type: ignore[arg-type]


def _write_check(folder: Path) -> None:
    """Random logits and labels with our loss of them: the peer's must be the same."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from segmodels.losses import make_loss

    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 16, 16, CLASSES)).astype(np.float32)
    labels = rng.integers(0, CLASSES, logits.shape[:-1]).astype(np.int16)
    loss = float(make_loss("dice_cross_entropy")(labels, logits))
    np.savez(folder / "check.npz", logits=logits, labels=labels, loss=loss)


if __name__ == "__main__":
    main()
