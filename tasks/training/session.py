"""One training after its data set was verified: split, survey, train, score, bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from segmodels.normalise import Normaliser, make_normaliser
from tasks.datasets.dataset import Dataset
from tasks.datasets.splits import Part
from tasks.errors import UsageError
from tasks.files import atomic_write
from tasks.training.cards import counted, make_card
from tasks.training.config import Config, write_yaml
from tasks.training.items import Seen, Split, split_items, survey
from tasks.training.outcome import FOLDER, Progress, TrainResult
from tasks.training.tiles import Tiles

#: Most pixels along an axis of a golden input, by number of axes.
_GOLDEN = {2: 512, 3: 40}

if TYPE_CHECKING:
    import keras

    from segmodels.training.trainer import Trained
    from tasks.training.evaluate import Evaluator


def _middle(tile: npt.NDArray[np.float32], unit: int) -> npt.NDArray[np.float32]:
    """The middle of a large tile, in multiples of the stride: a golden input is to be small."""
    spatial = tile.shape[:-1]
    sizes = [max(unit, min(n, _GOLDEN[len(spatial)]) // unit * unit) for n in spatial]
    return tile[tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(spatial, sizes, strict=True))]


class Session:
    """One training, from the survey of the items to the bundle.

    Args:
        config: Of the training.
        dataset: Verified.
        key: Names the training.
        out: Takes the bundle; its folder ``training/`` exists and is owned.
        scratch: Folder for inflated volumes.
        progress: Told of stages and steps.
    """

    def __init__(
        self, config: Config, dataset: Dataset, *, key: str, out: Path, scratch: Path, progress: Progress
    ) -> None:
        self._config, self._dataset, self._key = config, dataset, key
        self._out, self._folder, self._scratch, self._progress = out, out / FOLDER, scratch, progress
        self._codes = [c.code for c in dataset.classes]

    def run(self, *, command: str, score_test: bool) -> TrainResult:
        """Trains, scores and writes the bundle."""
        from segmodels.registry import stride
        from segmodels.training.loop import seed_everything
        from tasks.training.evaluate import Evaluator

        config = self._config
        split = split_items(self._dataset, config.data, seed=config.seed, scratch=self._scratch)
        self._write("config.yaml", write_yaml(config))
        names = {"train": split.train, "val": split.val, "test": split.test}
        self._write("split.json", json.dumps({k: [p.text for p in v] for k, v in names.items()}, indent=1))
        self._progress.stage("looking at the items")
        seen = {item.id: survey(self._dataset, item, scratch=self._scratch) for item in split.items}
        card = make_card(config, self._dataset, split, seen, key=self._key, command=command)
        normalisers = {name: make_normaliser(card, s.histograms) for name, s in seen.items()}
        seed_everything(config.seed)
        network = self._network(config.precision)
        unit = stride(network)
        if any(n % unit for n in (*config.patch, *card.tile)):
            raise UsageError(
                f"patch and tile must be multiples of the network's stride {unit}, not {config.patch}, {card.tile}"
            )
        evaluator = Evaluator(
            self._dataset,
            normalisers=normalisers,
            codes=self._codes,
            ndim=len(config.patch),
            stride=unit,
            balance_by=config.data.balance_by,
            scratch=self._scratch,
            trained=split.train,
        )
        trained = self._fit(network, split, normalisers, evaluator)
        held_out, where = (split.test, "test") if split.test and score_test else (split.val, "validation")
        self._progress.stage(f"scoring {counted(held_out)} ({where})")
        scores = evaluator.scores(network, held_out, score=config.score)
        scores = {f"{config.score if k == 'score' else k}_{where}": round(v, 5) for k, v in scores.items()}
        self._write("scores.json", json.dumps(scores, indent=1))
        self._progress.stage("writing the bundle")
        bundle = self._bundle(network, split, normalisers, seen, trained, scores, command=command, unit=unit)
        (self._folder / "checkpoint.npz").unlink(missing_ok=True)
        return TrainResult(
            bundle, self._folder, scores, trained.steps, trained.minutes, resumed_at=trained.resumed_at
        )

    def _network(self, precision: str) -> keras.Model:
        from segmodels.registry import build
        from segmodels.training.devices import share_batches
        from segmodels.training.precision import dtype_policy

        config = self._config
        channels = max(1, len(self._dataset.channels))
        try:
            share_batches(config.batch)
            with dtype_policy(precision):
                return build(
                    config.model.architecture,
                    channels=channels,
                    classes=len(self._codes),
                    ndim=len(config.patch),
                    **config.model.options,
                )
        except (ValueError, TypeError) as error:
            raise UsageError(f"model: {error}; correct the configuration") from error

    def _loss(self) -> Any:
        from segmodels.losses import WeightedSum, make_loss

        try:
            terms = [make_loss(term.kind, **term.options) for term in self._config.loss]
        except (ValueError, TypeError) as error:
            raise UsageError(f"loss: {error}; correct the configuration") from error
        if len(terms) == 1 and self._config.loss[0].weight == 1:
            return terms[0]
        return WeightedSum(terms, weights=[term.weight for term in self._config.loss])

    def _tiles(
        self, items: Sequence[Part], normalisers: Mapping[str, Normaliser], *, balanced: bool
    ) -> Tiles:
        config = self._config
        codes = {c.name: c.code for c in self._dataset.classes}
        for name in config.data.focus or {}:
            if name not in codes:
                raise UsageError(f"data.focus: there is no class {name!r}; there are {', '.join(codes)}")
        wanted = config.data.focus
        focus = None if wanted is None else {codes[name]: share for name, share in wanted.items()}
        try:
            return Tiles(
                self._dataset,
                items,
                normalisers=normalisers,
                patch=config.patch,
                seed=config.seed,
                codes=self._codes,
                balance_by=config.data.balance_by if balanced else None,
                shares=config.data.shares if balanced else None,
                focus=focus,
                scratch=self._scratch,
            )
        except ValueError as error:
            raise UsageError(f"data: {error}; correct the configuration") from error

    def _fit(
        self, network: keras.Model, split: Split, normalisers: Mapping[str, Normaliser], evaluator: Evaluator
    ) -> Trained:
        from segmodels.training.named_steps import make_steps
        from segmodels.training.schedule import Pace
        from segmodels.training.trainer import Settings, fit

        config, optimiser = self._config, self._config.optimiser
        pace = Pace(
            steps=config.steps,
            minutes=config.minutes,
            learning_rate=optimiser.learning_rate,
            warmup=optimiser.warmup,
        )
        tiles = self._tiles(split.train, normalisers, balanced=True)
        self._progress.stage(f"training {config.model.architecture} on {counted(split.train)}")
        try:
            return fit(
                network,
                tiles,
                loss=self._loss(),
                settings=Settings(
                    pace=pace,
                    batch=config.batch,
                    weight_decay=optimiser.weight_decay,
                    clip=optimiser.clip,
                    average=config.average,
                    every=config.every,
                    patience=config.patience,
                    keep=config.keep,
                    seed=config.seed,
                ),
                folder=self._folder,
                key=self._key,
                augment=make_steps(config.augment),
                validate=lambda model: evaluator.scores(model, split.val, score=config.score),
                progress=self._progress.step,
            )
        except FloatingPointError as error:
            raise UsageError(f"optimiser.learning_rate {optimiser.learning_rate}: {error}") from error
        finally:
            tiles.close()

    def _bundle(
        self,
        network: keras.Model,
        split: Split,
        normalisers: Mapping[str, Normaliser],
        seen: Mapping[str, Seen],
        trained: Trained,
        scores: Mapping[str, float],
        *,
        command: str,
        unit: int,
    ) -> Path:
        from segmodels.bundles.write import write_bundle
        from segmodels.supervision import plain

        fresh = self._network("float32")  # uncompiled, and without the precision of training
        fresh.set_weights(network.get_weights())
        card = make_card(
            self._config,
            self._dataset,
            split,
            seen,
            key=self._key,
            command=command,
            scores=scores,
            trained={"steps": trained.steps, "minutes": round(trained.minutes, 1)},
            stride=unit,
        )
        tiles = self._tiles(split.val, normalisers, balanced=False)
        golden, _ = tiles.draw()
        tiles.close()
        return write_bundle(
            self._out / self._config.name,
            card=card,
            model=plain(fresh),
            golden_input=np.ascontiguousarray(_middle(golden, unit)[None]),
        ).path

    def _write(self, name: str, text: str) -> None:
        with atomic_write(self._folder / name) as stream:
            stream.write(text.encode())
