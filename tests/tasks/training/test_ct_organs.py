"""The recipe ``ct-organs`` against the scan it speaks of, and the bundle that it made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from segmodels.bundles.bundle import load_bundle
from tasks.datasets.dataset import IGNORE, Dataset
from tasks.datasets.open import open_dataset
from tasks.datasets.pair import open_pair
from tasks.datasets.verify import verify_dataset
from tasks.training.config import Config, read_config
from tasks.training.evaluate import Evaluator
from tasks.training.items import Split, split_items, survey
from tasks.training.recipes import recipes

#: In mL, as the README of the data gives them.
KNOWN = {"liver": 1125.684, "spleen": 261.036}
BONES = ("sacrum", "vertebrae", "humerus", "scapula", "clavicula", "femur", "hip", "rib", "sternum")


@pytest.fixture(scope="module")
def config() -> Config:
    return read_config(recipes()["ct-organs"])


@pytest.fixture(scope="module")
def scan(config: Config, shared_data: Path) -> Dataset:
    folder = shared_data / "ct-organs"
    if not folder.is_dir():
        pytest.skip("the real test data (../shared/data/ct-organs) is missing")
    return open_dataset(folder, manifest=config.data.manifest)


@pytest.fixture(scope="module")
def split(config: Config, scan: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Split:
    return split_items(scan, config.data, seed=config.seed, scratch=tmp_path_factory.mktemp("split"))


def test_every_label_goes_to_the_class_of_its_name(scan: Dataset) -> None:
    labels = json.loads((scan.root / "labels_total.json").read_text())
    names = {c.code: c.name for c in scan.classes} | {IGNORE: "not known"}
    assert set(scan.values) == {0, *map(int, labels)}
    for value, label in labels.items():
        wanted = label if label in ("liver", "spleen") else "background"
        if label.startswith(BONES):
            wanted = "bones"
        elif label == "costal_cartilages":
            wanted = "not known"
        assert names[scan.values[int(value)]] == wanted, label


def test_merged_classes_have_the_known_volumes(scan: Dataset, tmp_path: Path) -> None:
    found = verify_dataset(scan, scratch=tmp_path)
    assert not found.errors
    pair = open_pair(scan, scan.items[0], scratch=tmp_path)
    millilitre = np.prod(pair.spacing) / 1000  # type: ignore[arg-type]
    pair.close()
    for name, volume in KNOWN.items():
        assert found.splits["none"].pixels[name] * millilitre == pytest.approx(volume, abs=1e-3)


def test_every_split_holds_every_class(scan: Dataset, split: Split, tmp_path: Path) -> None:
    pair = open_pair(scan, scan.items[0], scratch=tmp_path)
    used = np.zeros(pair.shape, int)
    for parts in (split.train, split.val, split.test):
        truth = [pair.truth(part.box) for part in parts if part.box is not None]
        assert all(sum((t == c.code).sum() for t in truth) > 1000 for c in scan.classes)
        for part in parts:
            used[part.box] += 1
    pair.close()
    assert (used == 1).all()


def test_slices_between_training_and_scoring_are_neither(split: Split) -> None:
    (scored,) = split.test
    assert scored.box is not None
    for part in split.train:
        assert part.box is not None
        gap = max(scored.box[0].start - part.box[0].stop, part.box[0].start - scored.box[0].stop)
        assert gap == 6


def test_the_shipped_bundle_is_what_the_recipe_makes(config: Config) -> None:
    card = load_bundle("ct-organs").card
    assert card.normalise == config.normalise
    assert config.data.manifest is not None
    # What DICOM calls them was added to the card afterwards.
    plain = tuple(c.model_copy(update={"coding": None}) for c in card.classes)
    assert plain == config.data.manifest.class_cards()
    assert (card.spacing, card.tile) == ((3.0, 3.0, 3.0), config.tile)
    assert (card.channels[0].name, card.channels[0].units) == ("CT", "HU")
    details = card.training.details
    assert (details["architecture"], details["options"]) == (
        config.model.architecture,
        config.model.options,
    )
    assert card.training.notes == config.notes


@pytest.mark.parametrize("engine", ["tensorflow", "openvino"])
def test_engines_reproduce_the_golden_input(engine: str) -> None:
    from segmodels.engines.loading import installed
    from segmodels.engines.opening import open_engine

    if not installed(engine):
        pytest.skip(f"{engine} is not installed")
    bundle = load_bundle("ct-organs")
    opened = open_engine(bundle, engine=engine, precision="float32", batch=1, tile=(48, 48, 48))
    assert opened.name == engine


def test_the_held_out_part_scores_what_the_card_says(
    config: Config, scan: Dataset, split: Split, tmp_path: Path
) -> None:
    from segmodels.bundles.keras_file import load_keras_file

    bundle, item = load_bundle("ct-organs"), scan.items[0]
    seen = survey(scan, item, normalise=bundle.card.normalise, scratch=tmp_path)
    evaluator = Evaluator(
        scan,
        normalisers={item.id: seen.normaliser},
        codes=[c.code for c in scan.classes],
        ndim=3,
        strides=(bundle.card.stride,) * 3,
        balance_by=None,
        scratch=tmp_path,
        trained=split.train,
    )
    scores = evaluator.scores(load_keras_file(bundle.model_path), split.test, score="mean_dice")
    for name in ("liver", "spleen", "bones"):
        assert scores[f"dice_{name}"] > 0.85, name
        assert scores[f"dice_{name}"] == pytest.approx(bundle.card.scores[f"dice_{name}_test"], abs=0.01)
