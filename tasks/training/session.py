"""One training after its data set was verified: split, survey, train, score, bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from segmodels.normalise import Normaliser
from tasks.calling import Call
from tasks.datasets.dataset import Dataset
from tasks.datasets.splits import Part
from tasks.errors import UsageError
from tasks.files import atomic_write
from tasks.training.cards import counted, make_card
from tasks.training.config import Config, write_yaml
from tasks.training.examples import Shown, shown
from tasks.training.held_out import from_worst_to_best, held_out_result
from tasks.training.items import Seen, Split, split_items, survey
from tasks.training.outcome import FOLDER, HELD_OUT, Progress, TrainResult
from tasks.training.page import Told, write_page
from tasks.training.tiles import Tiles

#: Most pixels along an axis of a golden input, by number of axes.
_GOLDEN = {2: 512, 3: 40}

if TYPE_CHECKING:
    import keras

    from segmodels.training.trainer import Trained
    from tasks.training.evaluate import Counted, Evaluator

#: Held-out items on the page.
EXAMPLES = 4


def _by(sizes: Sequence[int]) -> str:
    return " × ".join(map(str, sizes))


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
        call: Runs each step.
    """

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        *,
        key: str,
        out: Path,
        scratch: Path,
        progress: Progress,
        call: Call,
    ) -> None:
        self._call = call
        self._config, self._dataset, self._key = config, dataset, key
        self._out, self._folder, self._scratch, self._progress = out, out / FOLDER, scratch, progress
        self._codes = [c.code for c in dataset.classes]

    def run(self, *, command: str, score_test: bool) -> TrainResult:
        """Trains, scores, tells and writes the bundle, in this order: where it is, all is."""
        from segmodels.registry import stride, strides
        from segmodels.training.loop import seed_everything
        from tasks.training.evaluate import Evaluator

        config, call = self._config, self._call
        split = split_items(self._dataset, config.data, seed=config.seed, scratch=self._scratch)
        self._write("config.yaml", write_yaml(config))
        names = {"train": split.train, "val": split.val, "test": split.test}
        self._write("split.json", json.dumps({k: [p.text for p in v] for k, v in names.items()}, indent=1))
        self._progress.stage("looking at the items")
        seen = call("survey", lambda: self._survey(split))
        # what no card can say is refused before the training, not after it
        make_card(config, self._dataset, split, seen, key=self._key, command=command)
        normalisers = {name: s.normaliser for name, s in seen.items()}
        seed_everything(config.seed)
        network = self._network(config.precision)
        unit, per_axis = stride(network), strides(network)
        if any(n % s for n, s in zip(config.patch, per_axis, strict=True)):
            raise UsageError(
                f"patch: {_by(config.patch)} must be multiples of the network's strides {_by(per_axis)}"
            )
        if any(n % unit for n in config.tile or ()):
            raise UsageError(
                f"tile: {_by(config.tile or ())} must be multiples of the network's stride {unit}"
            )
        evaluator = Evaluator(
            self._dataset,
            normalisers=normalisers,
            codes=self._codes,
            ndim=len(config.patch),
            strides=per_axis,
            spacing=config.spacing,
            balance_by=config.data.balance_by,
            scratch=self._scratch,
            trained=split.train,
        )
        trained = call("train", lambda: self._fit(network, split, normalisers, evaluator))
        held_out, where = (split.test, "test") if split.test and score_test else (split.val, "validation")
        self._progress.stage(f"scoring {counted(held_out)} ({where})")
        items = call("score", lambda: [evaluator.counted(network, part) for part in held_out])
        scores = evaluator.pooled(items, score=config.score)
        scores = {f"{config.score if k == 'score' else k}_{where}": round(v, 5) for k, v in scores.items()}
        self._write("scores.json", json.dumps(scores, indent=1))
        result = held_out_result(items, self._dataset.classes, name=config.name, where=where)
        self._write(HELD_OUT, json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        self._progress.stage("drawing the report")
        told = Told(
            config=config,
            dataset=self._dataset,
            split=split,
            seen=seen,
            trained=trained,
            result=result,
            network=self._facts(network, unit),
            examples=self._examples(network, evaluator, items),
            command=command,
        )
        call("report", lambda: write_page(self._folder, told))
        self._progress.stage("writing the bundle")
        bundle = call(
            "bundle",
            lambda: self._bundle(
                network, split, normalisers, seen, trained, scores, command=command, unit=unit
            ),
        )
        (self._folder / "checkpoint.npz").unlink(missing_ok=True)
        return TrainResult(
            bundle, self._folder, scores, trained.steps, trained.minutes, resumed_at=trained.resumed_at
        )

    def _survey(self, split: Split) -> dict[str, Seen]:
        config = self._config
        return {
            item.id: survey(
                self._dataset,
                item,
                normalise=config.normalise,
                spacing=config.spacing,
                scratch=self._scratch,
            )
            for item in split.items
        }

    def _examples(
        self, network: keras.Model, evaluator: Evaluator, items: Sequence[Counted]
    ) -> list[tuple[str, float, Shown]]:
        classes, channels = self._dataset.classes, [c.name for c in self._dataset.channels]
        return [
            (
                item.part.text,
                item.matrix.mean_iou(),
                shown(evaluator.seen(network, item.part), classes, channels),
            )
            for item in from_worst_to_best(items, count=EXAMPLES)
        ]

    def _facts(self, network: keras.Model, unit: int) -> list[tuple[str, Any]]:
        import keras

        config = self._config
        return [
            ("Architecture", config.model.architecture),
            *((k.replace("_", " ").capitalize(), v) for k, v in config.model.options.items()),
            ("Parameters", f"{network.count_params():,}"),
            ("Stride", unit),
            ("Tile of training", " × ".join(map(str, config.patch))),
            ("Arithmetic", f"{config.precision}, keras {keras.__version__} on {keras.backend.backend()}"),
        ]

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
        self,
        items: Sequence[Part],
        normalisers: Mapping[str, Normaliser],
        *,
        balanced: bool,
        unit: int = 1,
    ) -> Tiles:
        """Tiles of the patch, or of one whose sides are multiples of ``unit``."""
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
                patch=tuple(-(-n // unit) * unit for n in config.patch),
                spacing=config.spacing,
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
        # a network that leaves a thick axis alone takes patches that no card's tile could be
        tiles = self._tiles(split.val, normalisers, balanced=False, unit=unit)
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
