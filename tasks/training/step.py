"""A training from beginning to end: verify, split, survey, train, score, bundle."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from tasks.calling import Call, directly
from tasks.datasets.dataset import Dataset
from tasks.datasets.entries import box_text
from tasks.datasets.open import open_dataset
from tasks.errors import InputError, UsageError
from tasks.files import writing
from tasks.publishing.ownership import owned
from tasks.training.config import Config
from tasks.training.outcome import FOLDER, Progress, TrainResult
from tasks.training.session import Session


def train_bundle(
    config: Config,
    *,
    out: Path,
    progress: Progress,
    command: str = "",
    score_test: bool = True,
    call: Call = directly,
) -> TrainResult:
    """Trains what the configuration describes and writes ``OUT/<name>/``; goes on with what was interrupted.

    Args:
        config: With ``data.path`` set.
        out: Takes the bundle and the folder ``training/``.
        progress: Told of stages and steps.
        command: For the card.
        score_test: Whether the test split is scored; a choice among trainings must not look at it.
        call: Runs each step: verify, survey, train, score, report, bundle.

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
            open_dataset(
                config.data.path,
                layout=config.data.layout,
                scratch=Path(scratch),
                manifest=config.data.manifest,
            ),
            config,
        )
        key = training_key(config, dataset)
        if (bundle / "model.json").is_file():
            card = load_bundle(bundle).card
            if card.training.details.get("key") == key:
                return TrainResult(bundle, out / FOLDER, card.scores, already_done=True)
            raise UsageError(f"{bundle} holds another model already; choose another --out, or another name")
        progress.stage("verifying the data set")
        call("verify", lambda: _verify(dataset, Path(scratch)))
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        with owned(out / FOLDER, item=config.name):
            session = Session(
                config, dataset, key=key, out=out, scratch=Path(scratch), progress=progress, call=call
            )
            return session.run(command=command, score_test=score_test)


def training_key(config: Config, dataset: Dataset) -> str:
    """Names a training: what decides the weights, and the state of every file."""
    words = config.model_dump(mode="json", exclude={"name", "description", "licence", "notes"})
    words["data"].pop("path")
    if words["data"]["manifest"] is None:
        words["data"].pop("manifest")
    files = [
        (item.id, item.split, [(p.name, s.st_size, s.st_mtime_ns) for p in (*item.images, item.truth) if p and p.exists() for s in [p.stat()]])
        for item in dataset.items
    ]  # fmt: skip
    classes = [c.model_dump() for c in dataset.classes]
    parts = {
        item.id: {name: [box_text(box) for box in boxes] for name, boxes in item.parts.items()}
        for item in dataset.items
        if item.parts
    }
    truth = [sorted(dataset.values.items()), parts]
    text = json.dumps([words, files, classes, truth], sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _classes(dataset: Dataset, config: Config) -> Dataset:
    """The data set with the configuration's names and colours."""
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
