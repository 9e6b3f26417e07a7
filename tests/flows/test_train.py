"""``segflow train`` from a data set on disk to a bundle that ``segflow run`` takes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmodels.bundles.bundle import load_bundle
from tests.tasks.training.conftest import write_squares

CONFIG = """
name: squares
licence: CC0-1.0
data: {layout: instances, validation: 0.3, balance_by: kind}
model: {architecture: unet, options: {filters: [8, 16]}}
patch: [32, 32]
batch: 4
steps: 120
normalise: [{kind: percentile, low: 1, high: 99}]
augment: [{kind: flip}]
optimiser: {learning_rate: 0.01, warmup: 5}
every: 60
average: 0.9
score: foreground_iou
"""


@pytest.mark.slow
def test_from_a_data_set_to_a_mask(segflow, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    data = write_squares(tmp_path / "data")
    config = tmp_path / "squares.yaml"
    config.write_text(CONFIG)
    ran = segflow("train", config, "--dataset", data, "--out", tmp_path / "out", "--direct", "--json")
    assert ran.code == 0, ran.error
    assert ran.answer["scores"]["foreground_iou_test"] > 0.8
    bundle = load_bundle(ran.answer["bundle"])
    training = bundle.card.training
    truth = [np.asarray(Image.open(p)) > 0 for p in sorted((data / "instance").glob("*.png"))]
    split = json.loads((tmp_path / "out" / "training" / "split.json").read_text())
    trained = [truth[int(i)] for i in split["train"]]
    share = sum(t.sum() for t in trained) / sum(t.size for t in trained)
    assert 1 - training.details["class_frequencies"]["background"] == pytest.approx(share, abs=1e-4)
    assert bundle.card.licence == "CC0-1.0"
    assert all(0 <= c.minimum < c.maximum <= 255 for c in bundle.card.channels)
    assert sorted(
        p.name for p in (tmp_path / "out" / "training").iterdir() if not p.name.startswith("owner")
    ) == [
        "config.yaml",
        "confusion.png",
        "curves.csv",
        "curves.png",
        "held_out.json",
        "logs",
        "report.html",
        "scores.json",
        "split.json",
    ]
    again = segflow("train", config, "--dataset", data, "--out", tmp_path / "out", "--direct", "--json")
    assert again.answer["already_done"]


def test_a_data_set_that_does_not_fit_is_refused_and_nothing_written(segflow, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    data = write_squares(tmp_path / "data", items=6)
    Image.fromarray(np.zeros((7, 9), np.uint16)).save(data / "instance" / "03.png")
    config = tmp_path / "squares.yaml"
    config.write_text(CONFIG)
    ran = segflow("train", config, "--dataset", data, "--out", tmp_path / "out", "--direct", "--json")
    assert ran.code == 3
    assert "03.png" in ran.answer["error"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give either a configuration"),
        (("nucleus", "--out", "o"), "neither a file nor a recipe"),
        (("nuclei", "--out", "o"), "no data set"),
        (("nuclei",), "give --out"),
    ],
)
def test_commands_that_lack_something(segflow, arguments: tuple[str, ...], said: str) -> None:  # type: ignore[no-untyped-def]
    ran = segflow("train", *arguments, "--direct", "--json")
    assert ran.code == 2
    assert said in ran.answer["error"]
