"""A training from beginning to end: verify, split, survey, train, score, bundle."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from segmodels.normalise import Normaliser, make_normaliser
from tasks.datasets.dataset import Dataset
from tasks.datasets.open import open_dataset
from tasks.datasets.splits import Part
from tasks.errors import InputError, UsageError
from tasks.files import atomic_write, writing
from tasks.publishing.ownership import owned
from tasks.training.cards import make_card
from tasks.training.config import Config, write_yaml
from tasks.training.items import Seen, Split, split_items, survey
from tasks.training.tiles import Tiles

if TYPE_CHECKING:
    import keras

    from segmodels.training.trainer import Trained

#: The folder beside the bundle: configuration, curves, logs, checkpoint, scores.
FOLDER = "training"


class Progress(Protocol):
    """Who is told how a training goes."""

    def stage(self, sentence: str) -> None:
        """A step of the training begins."""
        ...

    def step(self, done: float, step: int, loss: float) -> None:
        """A batch is done; ``done`` is the share of all."""
        ...


@dataclass(frozen=True)
class TrainResult:
    """What a training left.

    Attributes:
        bundle: Folder of the bundle.
        folder: Where curves, logs and configuration lie.
        scores: As in the card.
        steps: Done in all.
        minutes: Spent in all.
        resumed_at: Step from which an interrupted training went on.
        already_done: Nothing was computed: the bundle was there.
    """

    bundle: Path
    folder: Path
    scores: Mapping[str, float | str]
    steps: int = 0
    minutes: float = 0.0
    resumed_at: int | None = None
    already_done: bool = False

    def as_json(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "status": "done",
            "bundle": str(self.bundle),
            "training": str(self.folder),
            "scores": dict(self.scores),
            "steps": self.steps,
            "minutes": round(self.minutes, 2),
            "resumed_at": self.resumed_at,
            "already_done": self.already_done,
        }


def train_bundle(
    config: Config, *, out: Path, progress: Progress, command: str = "", score_test: bool = True
) -> TrainResult:
    """Trains what the configuration describes and writes ``OUT/<name>/``; goes on with what was interrupted.

    Args:
        config: With ``data.path`` set.
        out: Takes the bundle and the folder ``training/``.
        progress: Told of stages and steps.
        command: For the card.
        score_test: Whether the test split is scored; a choice among trainings must not look at it.

    Raises:
        InputError: The data set is refused; nothing was written.
        UsageError: Configuration and data set do not fit together.
        OwnedError: Another process trains there.
        ModelError: The checkpoint or the bundle there is of another training.
    """
    from segmodels.bundles.bundle import load_bundle

    if config.data.path is None:
        raise UsageError("no data set: give --dataset FOLDER, or data.path in the configuration")
    bundle = out / config.name
    with tempfile.TemporaryDirectory(prefix="segflow-train-") as scratch:
        dataset = _classes(
            open_dataset(config.data.path, layout=config.data.layout, scratch=Path(scratch)), config
        )  # type: ignore[arg-type]
        key = training_key(config, dataset)
        if (bundle / "model.json").is_file():
            card = load_bundle(bundle).card
            if card.training.details.get("key") == key:
                return TrainResult(bundle, out / FOLDER, card.scores, already_done=True)
            raise UsageError(f"{bundle} holds another model already; choose another --out, or another name")
        progress.stage("verifying the data set")
        _verify(dataset, Path(scratch))
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        with owned(out / FOLDER, item=config.name):
            session = _Session(config, dataset, key=key, out=out, scratch=Path(scratch), progress=progress)
            return session.run(command=command, score_test=score_test)


def training_key(config: Config, dataset: Dataset) -> str:
    """Names a training: what decides the weights, and the state of every file."""
    words = config.model_dump(mode="json", exclude={"name", "description", "licence", "notes"})
    words["data"].pop("path")
    files = [
        (item.id, item.split, [(p.name, s.st_size, s.st_mtime_ns) for p in (*item.images, item.truth) if p and p.exists() for s in [p.stat()]])
        for item in dataset.items
    ]  # fmt: skip
    classes = [c.model_dump() for c in dataset.classes]
    text = json.dumps([words, files, classes], sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _classes(dataset: Dataset, config: Config) -> Dataset:
    """The data set with the configuration's names and colours."""
    from dataclasses import replace

    if config.classes is None:
        return dataset
    if [c.code for c in config.classes] != [c.code for c in dataset.classes]:
        codes = ", ".join(str(c.code) for c in dataset.classes)
        raise UsageError(f"classes: the data set has the codes {codes}; list exactly those")
    return replace(dataset, classes=config.classes)


def _verify(dataset: Dataset, scratch: Path) -> None:
    from tasks.datasets.verify import verify_dataset

    errors = [p for p in verify_dataset(dataset, scratch=scratch).problems if p.severity == "error"]
    if errors:
        more = f" (and {len(errors) - 1} more: segflow data verify {dataset.root})" if len(errors) > 1 else ""
        raise InputError(f"the data set is not fit to train on: {errors[0].cause}{more}")


def said(part: Part) -> str:
    """An item's id, with the box if it is a part of it."""
    if part.box is None:
        return part.item.id
    return f"{part.item.id}[{','.join(f'{s.start}:{s.stop}' for s in part.box)}]"


class _Session:
    """One training, from the survey of the items to the bundle."""

    def __init__(
        self, config: Config, dataset: Dataset, *, key: str, out: Path, scratch: Path, progress: Progress
    ) -> None:
        self._config, self._dataset, self._key = config, dataset, key
        self._out, self._folder, self._scratch, self._progress = out, out / FOLDER, scratch, progress
        self._codes = [c.code for c in dataset.classes]

    def run(self, *, command: str, score_test: bool) -> TrainResult:
        from segmodels.registry import stride
        from segmodels.training.loop import seed_everything
        from tasks.training.evaluate import Evaluator

        config = self._config
        split = split_items(self._dataset, config.data, seed=config.seed, scratch=self._scratch)
        self._write("config.yaml", write_yaml(config))
        names = {"train": split.train, "val": split.val, "test": split.test}
        self._write("split.json", json.dumps({k: [said(p) for p in v] for k, v in names.items()}, indent=1))
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
        )
        trained = self._fit(network, split, normalisers, evaluator)
        held_out, where = (split.test, "test") if split.test and score_test else (split.val, "validation")
        self._progress.stage(f"scoring {len(held_out)} {where} items")
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

    def _tiles(self, items: Any, normalisers: Mapping[str, Normaliser], *, balanced: bool) -> Tiles:
        config = self._config
        codes = {c.name: c.code for c in self._dataset.classes}
        for name in config.data.focus:
            if name not in codes:
                raise UsageError(f"data.focus: there is no class {name!r}; there are {', '.join(codes)}")
        return Tiles(
            self._dataset,
            items,
            normalisers=normalisers,
            patch=config.patch,
            seed=config.seed,
            codes=self._codes,
            balance_by=config.data.balance_by if balanced else None,
            shares=config.data.shares if balanced else None,
            focus={codes[name]: share for name, share in config.data.focus.items()},
            scratch=self._scratch,
        )

    def _fit(
        self, network: keras.Model, split: Split, normalisers: Mapping[str, Normaliser], evaluator: Any
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
        self._progress.stage(f"training {config.model.architecture} on {len(split.train)} items")
        try:
            return fit(
                network,
                self._tiles(split.train, normalisers, balanced=True),
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
        golden, _ = self._tiles(split.val, normalisers, balanced=False).draw()
        return write_bundle(
            self._out / self._config.name, card=card, model=plain(fresh), golden_input=golden[None]
        ).path

    def _write(self, name: str, text: str) -> None:
        with atomic_write(self._folder / name) as stream:
            stream.write(text.encode())
