"""What a training tells of its held-out items: figures, pictures and the page."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score, jaccard_score

from segmodels.bundles.card import NormaliseZScore
from segmodels.metrics import ConfusionMatrix
from segmodels.training.curves import draw
from segmodels.training.trainer import Trained
from tasks.datasets.dataset import IGNORE, Dataset
from tasks.datasets.open import open_dataset
from tasks.datasets.splits import Part
from tasks.evaluation.picture import confusion_picture
from tasks.training.config import Data, parse_config
from tasks.training.evaluate import Counted, Example
from tasks.training.examples import shown
from tasks.training.held_out import CHOSEN_ON, from_worst_to_best, held_out_result
from tasks.training.items import split_items, survey
from tasks.training.page import Told, render

RNG = np.random.default_rng(2)


def guessed(dataset: Dataset, wrong: float) -> tuple[list[Counted], np.ndarray, np.ndarray]:
    """Counted items with random truth; of each the next has more errors."""
    items, truths, guesses = [], [], []
    for i, item in enumerate(dataset.items[:4]):
        truth = RNG.integers(0, 3, 900).astype(np.int16)
        guess = np.where(RNG.random(900) < wrong * (i + 1), (truth + 1) % 3, truth).astype(np.uint8)
        truth[:50] = IGNORE
        matrix = ConfusionMatrix(3, ignore=(IGNORE,)).update(truth, guess)
        items.append(Counted(Part(item), matrix, truth.size))
        truths.append(truth[50:])
        guesses.append(guess[50:])
    return items, np.concatenate(truths), np.concatenate(guesses)


def test_held_out_scores_are_those_of_scikit_learn(squares: Path) -> None:
    dataset = open_dataset(squares)
    items, truth, guess = guessed(dataset, 0.1)
    result = held_out_result(items, dataset.classes, name="squares", where="test")
    rows = result["pooled"]["classes"]
    assert [r["iou"]["value"] for r in rows] == pytest.approx(
        jaccard_score(truth, guess, average=None).tolist()
    )
    assert [r["dice"]["value"] for r in rows] == pytest.approx(f1_score(truth, guess, average=None).tolist())
    assert all(r["iou"]["low"] < r["iou"]["value"] < r["iou"]["high"] for r in rows)
    assert result["pixels"]["ignored"] == 200
    assert CHOSEN_ON not in result["notes"]
    assert CHOSEN_ON in held_out_result(items, dataset.classes, name="s", where="validation")["notes"]
    order = from_worst_to_best([items[i] for i in (2, 0, 3, 1)], count=3)
    assert [c.part.item.id for c in order] == [items[i].part.item.id for i in (3, 1, 0)] or [
        c.part.item.id for c in order
    ] == [items[i].part.item.id for i in (3, 2, 0)]


def flat(jpeg: bytes) -> np.ndarray:
    import io

    return np.asarray(Image.open(io.BytesIO(jpeg)), float)


def test_examples_show_truth_and_prediction_where_they_are(squares: Path) -> None:
    dataset = open_dataset(squares)
    truth, guess = np.zeros((2, 5, 48, 40), np.int16)
    truth[3, 8:24, 8:24], guess[3, 24:40, 8:24] = 1, 1
    truth[1, :2, :2] = 1
    example = Example(
        Part(dataset.items[0]),
        np.full((5, 48, 40, 1), 7, np.float32),
        np.ones(truth.shape, bool),
        truth,
        guess.astype(np.uint8),
    )
    seen = shown(example, dataset.classes, ["CT"])
    image, true, found = (flat(p) for p in seen.pictures)
    times = seen.width // 40
    assert image.shape == (seen.height, seen.width, 3) == (48 * times, 40 * times, 3)
    assert seen.height >= 360
    # The slice with the most of it, blue in one place in the truth and in another in the prediction.
    for picture, rows in ((true, slice(8, 24)), (found, slice(24, 40))):
        blue = np.abs(picture - image).max(axis=-1) > 20
        inside = np.zeros((48, 40), bool)
        inside[rows, 8:24] = True
        inside = np.repeat(np.repeat(inside, times, 0), times, 1)
        assert blue[inside].mean() > 0.95
        assert blue[~inside].mean() < 0.03


def test_a_large_window_is_cut_and_unknown_truth_is_marked(squares: Path) -> None:
    dataset = open_dataset(squares)
    size = (600, 700)
    truth = np.full(size, IGNORE, np.int16)
    example = Example(
        Part(dataset.items[0]),
        RNG.normal(size=(*size, 4)).astype(np.float32),
        np.ones(size, bool),
        truth,
        np.zeros(size, np.uint8),
    )
    seen = shown(example, dataset.classes, ["nir", "red", "green", "blue"])
    assert (seen.height, seen.width) == (512, 512)
    image, true, found = (flat(p) for p in seen.pictures)
    assert np.abs(found - image).max() == 0
    assert np.abs(true - image).mean() > 20


def test_the_page_stands_alone_and_says_everything(squares: Path, tmp_path: Path) -> None:
    dataset = open_dataset(squares)
    dataset = replace(
        dataset, classes=(dataset.classes[0].model_copy(update={"name": "<b>"}), *dataset.classes[1:])
    )
    split = split_items(dataset, Data(validation=0.25), seed=0, scratch=tmp_path)
    seen = {i.id: survey(dataset, i, normalise=(NormaliseZScore(),), scratch=tmp_path) for i in split.items}
    items, _, _ = guessed(dataset, 0.1)
    result = held_out_result(items, dataset.classes, name="squares", where="test")
    draw([{"step": 5, "loss": 1.0, "learning_rate": 0.1, "score": 0.5}], tmp_path / "curves.png")
    curves, confusion = (tmp_path / "curves.png").read_bytes(), confusion_picture(result)
    told = Told(
        config=parse_config({"name": "squares", "patch": [32, 32], "steps": 1234, "batch": 7}, named="test"),
        dataset=dataset,
        split=split,
        seen=seen,
        trained=Trained(steps=1234, minutes=2.5, scores={"score": 0.4567}, resumed_at=600),
        result=result,
        network=[("Parameters", "98,765")],
        examples=[],
        command="segflow train squares.yaml",
    )  # fmt: skip
    page = render(told, curves=curves, confusion=confusion)
    assert "http" not in page.split("<body>")[1]
    assert "<b>" not in page.split('id="classes"')[1].split("</table>")[0]
    for said in (
        "1,234 steps in 2 min 30 s",
        "0.4567",
        "98,765",
        "step 600",
        "batch: 7",
        "segflow train squares.yaml",
    ):
        assert said in page
    assert len(re.findall("data:image/png;base64,", page)) == 2
    truth = np.concatenate(
        [np.asarray(Image.open(squares / "instance" / f"{p.item.id}.png")).ravel() > 0 for p in split.train]
    )
    assert f"{100 * (1 - truth.mean()):.2f} %" in page  # background's share of the training items
    each = [np.asarray(Image.open(squares / "image" / f"{p.item.id}.png"))[..., 0] for p in split.train]
    values = np.concatenate([v.ravel() for v in each])
    low, high = (np.median([np.percentile(v, q, method="inverted_cdf") for v in each]) for q in (2, 98))
    row = page.split('id="channels"')[1].split("</tr>")[1]
    cells = [c.replace(",", "") for c in re.findall(r'class="n">([^<]+)<', row)]
    wanted = [values.size, values.min(), low, values.mean(), high]
    assert [float(c) for c in cells] == pytest.approx([*wanted, values.max(), values.std()], rel=1e-3)
