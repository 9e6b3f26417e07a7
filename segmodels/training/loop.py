"""The training loop: tiles in, a trained model out, the same numbers for the same seed."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from segmodels.normalise import Normaliser
from segmodels.training.augment import Step

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)
Progress = Callable[[int, int, float], None]
"""Called with (step, steps, mean loss since the last call)."""


class Sampler(Protocol):
    """Where tiles come from."""

    def draw(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """An image ``(*tile, channels)`` and its labels ``(*tile)``."""
        ...


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        steps: Batches.
        batch: Tiles a batch.
        learning_rate: Peak of a cosine that starts after the warm-up and ends at zero.
        warmup: Steps of linear rise.
        weight_decay: Of AdamW.
        frozen: Share of the steps, at the end, with the running statistics of batch norm
            frozen, so that the weights fit what prediction uses: with few tiles a batch,
            batch statistics hide intensity changes that prediction will meet.
    """

    steps: int
    batch: int = 8
    learning_rate: float = 2e-3
    warmup: int = 50
    weight_decay: float = 1e-4
    frozen: float = 0.0


def seed_everything(seed: int) -> None:
    """Seeds Python, numpy and the Keras backend; best called before Keras is imported."""
    # TensorFlow leaves oneDNN off on CPUs without AVX-512; on those it trains 2-D twice and 3-D five
    # times as fast. Read once, at TensorFlow's import.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    import keras

    keras.utils.set_random_seed(seed)


def train(
    model: keras.Model,
    sampler: Sampler,
    *,
    normalise: Normaliser | None,
    loss: keras.losses.Loss,
    schedule: Schedule,
    augment: Step | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    validate: Callable[[keras.Model, int], None] | None = None,
    every: int = 50,
) -> float:
    """Trains ``model`` in place.

    Args:
        model: Gives logits; compiled here.
        sampler: Where tiles come from (values in the file's units).
        normalise: The same frozen normalisation as prediction's, applied after augmentation; None if
            the augmentation gives normalised values itself.
        loss: On integer labels and logits.
        schedule: How long and how fast.
        augment: Joint augmentation of a tile and its labels.
        seed: Seed of the augmentation.
        progress: Called every ``every`` steps.
        validate: Called with the model and the step at the same times.
        every: Steps between those calls.

    Returns:
        Minutes taken.
    """
    import keras

    rate = keras.optimizers.schedules.CosineDecay(
        0.0 if schedule.warmup else schedule.learning_rate,
        max(schedule.steps - schedule.warmup, 1),
        warmup_target=schedule.learning_rate if schedule.warmup else None,
        warmup_steps=schedule.warmup,
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=schedule.weight_decay, global_clipnorm=1.0)
    _norms(model, learn=True)
    # XLA's convolutions are slower than oneDNN's on CPUs, in 3-D by far
    model.compile(optimizer=optimizer, loss=loss, jit_compile=False)
    freeze_at = schedule.steps - int(schedule.frozen * schedule.steps)
    rng = np.random.default_rng(seed)
    started, losses = time.monotonic(), []
    for step in range(1, schedule.steps + 1):
        if step == freeze_at + 1:
            _norms(model, learn=False)
            model.compile(optimizer=optimizer, loss=loss, jit_compile=False)
        images, labels = zip(
            *(_tile(sampler, normalise, augment, rng) for _ in range(schedule.batch)), strict=True
        )
        losses.append(float(model.train_on_batch(np.stack(images), np.stack(labels))))
        if step % every == 0 or step == schedule.steps:
            mean = float(np.mean(losses[-every:]))
            minutes = (time.monotonic() - started) / 60
            log.info("step %d of %d, loss %.4f, %.1f min", step, schedule.steps, mean, minutes)
            if progress is not None:
                progress(step, schedule.steps, mean)
            if validate is not None:
                validate(model, step)
    return (time.monotonic() - started) / 60


def _tile(
    sampler: Sampler, normalise: Normaliser | None, augment: Step | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    image, labels = sampler.draw()
    image = image.astype(np.float32)
    if augment is not None:
        image, labels = augment(image, labels, rng)
    return (normalise(image) if normalise else image), np.ascontiguousarray(labels)


def _norms(model: keras.Model, *, learn: bool) -> None:
    """A batch norm that does not learn uses its running statistics, in training too."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = learn
