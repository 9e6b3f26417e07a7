"""The training loop: prefetched batches, a learning rate that falls, scores, checkpoints, early stopping.

Killed at any point and started again, it goes on from its last checkpoint and arrives at the weights that
it would have had (where the backend's arithmetic repeats itself, as TensorFlow's does on CPUs).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segmodels.training.augment import Step
from segmodels.training.averaging import Average, Weights
from segmodels.training.checkpoint import Checkpoint, assign, values_of
from segmodels.training.curves import Curves
from segmodels.training.prefetch import Source, prefetched
from segmodels.training.schedule import Pace

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)
CHECKPOINT = "checkpoint.npz"
#: Steps between two updates of the averaged weights: each copies all weights out of the backend.
AVERAGED_EVERY = 4

Validate = Callable[["keras.Model"], Mapping[str, float]]
"""Scores of the network as it is; ``score`` is the one that decides, more is better."""
Progress = Callable[[float, int, float], None]
"""Called with the share done, the step and the loss."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a training does besides computing gradients.

    Attributes:
        pace: Length and learning rate.
        batch: Tiles a batch.
        weight_decay: Of AdamW.
        clip: Largest norm of all gradients together.
        average: Decay of the averaged weights, which are then validated and kept; None keeps the weights.
        every: Steps between validations, each with a checkpoint.
        patience: Validations without a better score until it stops; None never stops early.
        keep: The weights of the best validation, or the last.
        seed: Of the augmentation; :func:`segmodels.training.loop.seed_everything` seeds the weights.
        threads: That prepare tiles.
    """

    pace: Pace
    batch: int = 8
    weight_decay: float = 1e-4
    clip: float = 1.0
    average: float | None = None
    every: int = 100
    patience: int | None = None
    keep: str = "best"
    seed: int = 0
    threads: int = 2


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What came of it; the network holds the weights that are kept.

    Attributes:
        steps: Done in all.
        minutes: Spent in all, the validations included.
        scores: Of the kept weights at their validation; empty without one.
        stopped_early: Whether patience ended it.
        resumed_at: The step from which an interrupted training went on; None if it was not interrupted.
    """

    steps: int
    minutes: float
    scores: Mapping[str, float] = field(default_factory=dict)
    stopped_early: bool = False
    resumed_at: int | None = None


class _State:
    """What changes from step to step."""

    def __init__(self, network: keras.Model, optimizer: Any, average: Average | None) -> None:
        self.network, self.optimizer, self.average = network, optimizer, average
        self.step, self.seconds, self.since_best, self.stopped = 0, 0.0, 0, False
        self.best: Weights | None = None
        self.top = -math.inf
        self.scores: dict[str, float] = {}

    def checkpoint(self, key: str, curves: Curves) -> Checkpoint:
        groups = {
            "network": values_of(self.network.variables),
            "optimizer": values_of(self.optimizer.variables),
        }
        if self.average is not None:
            groups["average"] = self.average.weights
        if self.best is not None:
            groups["best"] = self.best
        notes = {
            "since_best": self.since_best,
            "top": self.top,
            "scores": self.scores,
            "stopped": self.stopped,
            "rows": curves.rows,
        }
        return Checkpoint(key=key, step=self.step, seconds=self.seconds, groups=groups, notes=notes)

    def restore(self, saved: Checkpoint, curves: Curves) -> None:
        assign(self.network.variables, saved.groups["network"])
        assign(self.optimizer.variables, saved.groups["optimizer"])
        if self.average is not None:
            self.average.weights = list(saved.groups["average"])
        self.best = list(saved.groups["best"]) if "best" in saved.groups else None
        self.step, self.seconds = saved.step, saved.seconds
        self.since_best, self.scores = saved.notes["since_best"], saved.notes["scores"]
        self.stopped, self.top = saved.notes["stopped"], saved.notes["top"]
        curves.rows[:] = saved.notes["rows"]


def fit(
    network: keras.Model,
    source: Source,
    *,
    loss: Callable[[Any, Any], Any],
    settings: Settings,
    folder: Path,
    key: str = "",
    augment: Step | None = None,
    validate: Validate | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Trains ``network`` in place.

    Args:
        network: Gives logits, or several outputs that ``loss`` knows.
        source: Where tiles come from, at its beginning.
        loss: On integer labels and the outputs.
        settings: How.
        folder: Takes ``checkpoint.npz``, ``curves.csv``, ``curves.png`` and ``logs/``; it exists.
        key: Names this training; a checkpoint with another key is refused.
        augment: Joint augmentation of a tile and its labels, normalised values.
        validate: Scores every ``settings.every`` steps and at the end.
        progress: Called after every step.

    Raises:
        CheckpointError: The folder's checkpoint is damaged or of another training.
        FloatingPointError: The loss is no longer a number.
    """
    import keras

    from segmodels.training.adamw import AdamW
    from segmodels.training.fused_norms import fused_norms
    from segmodels.training.supervised import Supervised

    compiled = _compiled()
    # XLA fuses the many small operations of Keras' own; without it they are replaced
    optimizer = (AdamW if compiled is False else keras.optimizers.AdamW)(
        settings.pace.learning_rate, weight_decay=settings.weight_decay, global_clipnorm=settings.clip
    )
    model = Supervised(network, _of_all_outputs(network, loss))
    model.compile(optimizer=optimizer, loss=None, jit_compile=compiled)
    optimizer.build(network.trainable_variables)
    average = None
    if settings.average is not None:
        average = Average(settings.average, values_of(network.weights))
    state, curves = _State(network, optimizer, average), Curves(folder)
    saved = Checkpoint.load(folder / CHECKPOINT, key=key)
    if saved is not None:
        state.restore(saved, curves)
        log.info("going on after step %d of an interrupted training", state.step)
    began = time.monotonic() - state.seconds
    losses: list[float] = []
    with (
        fused_norms(network) if compiled is False else nullcontext(),
        prefetched(
            source,
            batch=settings.batch,
            augment=augment,
            seed=settings.seed,
            done=state.step,
            threads=settings.threads,
        ) as batches,
    ):
        while not state.stopped and settings.pace.done(state.step, state.seconds) < 1:
            rate = settings.pace.rate(state.step, state.seconds)
            optimizer.learning_rate = rate
            images, labels = next(batches)
            model.reset_metrics()  # Keras would give the mean over all steps so far
            losses.append(float(model.train_on_batch(images, labels)))
            if not math.isfinite(losses[-1]):
                raise FloatingPointError(
                    f"the loss is {losses[-1]} at step {state.step + 1}; lower the learning rate"
                )
            state.step += 1
            state.seconds = time.monotonic() - began
            finished = settings.pace.done(state.step, state.seconds) >= 1
            if average is not None and (state.step % AVERAGED_EVERY == 0 or finished):
                average.update(values_of(network.weights), step=state.step, steps=_since_update(state.step))
            if progress is not None:
                progress(settings.pace.done(state.step, state.seconds), state.step, losses[-1])
            if state.step % settings.every == 0 or finished:
                row = {"step": state.step, "loss": float(np.mean(losses)), "learning_rate": rate}
                losses.clear()
                _validated(state, validate, settings, row)
                state.seconds = time.monotonic() - began
                curves.add({**row, "minutes": round(state.seconds / 60, 3)})
                state.checkpoint(key, curves).save(folder / CHECKPOINT)
    if settings.keep == "best" and state.best is not None:
        network.set_weights(state.best)
    elif average is not None:
        network.set_weights(average.weights)
    curves.close()
    return Trained(
        steps=state.step,
        minutes=state.seconds / 60,
        scores=state.scores,
        stopped_early=state.stopped,
        resumed_at=saved.step if saved else None,
    )


def _of_all_outputs(network: keras.Model, loss: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The loss of every output of a network with several, weighed as the network says."""
    from segmodels.losses.deep_supervision import DeepSupervision
    from segmodels.supervision import outputs

    found = outputs(network)
    if len(found) == 1:
        return loss
    return DeepSupervision(loss, weights=[output.weight for output in found])


def _validated(state: _State, validate: Validate | None, settings: Settings, row: dict[str, float]) -> None:
    """Scores the averaged weights if there are any, and remembers the best."""
    if validate is None:
        return
    now = values_of(state.network.weights)
    if state.average is not None:
        state.network.set_weights(state.average.weights)
    scores = {name: float(value) for name, value in validate(state.network).items()}
    kept = values_of(state.network.weights)
    state.network.set_weights(now)
    row.update(scores)
    log.info("step %d: loss %.4f, score %.4f", state.step, row["loss"], scores["score"])
    if settings.keep == "last":
        state.scores = scores
    if scores["score"] > state.top or state.best is None:
        state.best, state.top, state.since_best = kept, scores["score"], 0
        if settings.keep == "best":
            state.scores = scores
    else:
        state.since_best += 1
        state.stopped = settings.patience is not None and state.since_best >= settings.patience


def _since_update(step: int) -> int:
    return step % AVERAGED_EVERY or AVERAGED_EVERY


def _compiled() -> bool | str:
    """XLA's convolutions are slower than oneDNN's on CPUs, in 3-D by far; JAX knows nothing else."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return "auto"
    import tensorflow as tf

    return "auto" if tf.config.list_physical_devices("GPU") else False
