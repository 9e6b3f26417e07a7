"""Scores from a confusion matrix against scikit-learn's, and its counting of every type of code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from segmodels.metrics import ConfusionMatrix

RNG = np.random.default_rng(11)


@pytest.fixture(params=range(4))
def pair(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """Masks of five classes; the third time without class 3 in the truth, the fourth without it in both."""
    rng = np.random.default_rng(request.param)
    truth = rng.integers(0, 5, (61, 47))
    guess = np.where(rng.random(truth.shape) < 0.4, rng.integers(0, 5, truth.shape), truth)
    if request.param >= 2:
        truth[truth == 3] = 1
    if request.param == 3:
        guess[guess == 3] = 0
    return truth, guess


def test_all_scores_equal_scikit_learn(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, guess = pair
    m = ConfusionMatrix(5).update(truth, guess)
    t, p, labels = truth.ravel(), guess.ravel(), range(5)
    counts = sk.confusion_matrix(t, p, labels=labels)
    np.testing.assert_array_equal(m.counts, counts)
    options: dict[str, Any] = {"labels": labels, "average": None, "zero_division": np.nan}
    in_truth = np.isin(labels, t)
    in_either = in_truth | np.isin(labels, p)
    for ours, theirs, defined in (
        (m.iou(), sk.jaccard_score(t, p, labels=labels, average=None, zero_division=0), in_either),
        (m.dice(), sk.f1_score(t, p, **options), in_either),
        (m.recall(), sk.recall_score(t, p, **options), in_truth),
    ):
        np.testing.assert_array_equal(~np.isnan(ours), defined)
        np.testing.assert_allclose(ours[defined], theirs[defined], atol=1e-12)
    occurring = sorted({*t} | {*p})
    options = {"labels": occurring, "average": None, "zero_division": 0}
    np.testing.assert_allclose(m.precision()[occurring], sk.precision_score(t, p, **options), atol=1e-12)
    assert m.pixel_accuracy() == pytest.approx(sk.accuracy_score(t, p), abs=1e-12)
    present = sorted({*t})
    assert m.mean_accuracy() == pytest.approx(
        sk.recall_score(t, p, labels=present, average="macro"), abs=1e-12
    )
    assert m.mean_iou() == pytest.approx(sk.jaccard_score(t, p, labels=occurring, average="macro"), abs=1e-12)
    weighted = sk.jaccard_score(t, p, labels=labels, average="weighted", zero_division=0)
    assert m.fw_iou() == pytest.approx(weighted, abs=1e-12)
    negatives = [sk.recall_score(t == k, p == k, pos_label=False) for k in labels]
    np.testing.assert_allclose(m.specificity(), negatives, atol=1e-12)


@pytest.mark.parametrize("of_truth", ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int64"])
@pytest.mark.parametrize("of_guess", ["uint8", "int16", "uint16", "int32", "uint64"])
def test_every_type_of_code_is_counted_alike(of_truth: str, of_guess: str) -> None:
    truth = RNG.integers(0, 2, 70_001)
    guess = RNG.integers(0, 4, truth.size)
    m = ConfusionMatrix(2, missing=(3,)).update(truth.astype(of_truth), guess.astype(of_guess))
    expected = [[np.sum((truth == t) & (guess == p)) for p in (0, 1, 3, 2)] for t in (0, 1)]
    np.testing.assert_array_equal(m.columns, expected)


def test_codes_at_the_ends_of_their_types() -> None:
    truth = np.array([-1, -32768, 65535, 7, 7, 7, 7, 7], np.int64)
    guess = np.array([7, 7, 7, 65533, 2**40, -(2**40), -1, 7], np.int64)
    m = ConfusionMatrix((0, 7), ignore=(-1, -32768, 65535), missing=(65533,)).update(truth, guess)
    np.testing.assert_array_equal(m.columns, [[0, 0, 0, 0], [0, 1, 1, 3]])


def test_missing_codes_have_columns_of_their_own_and_are_misses() -> None:
    truth = np.array([0, 0, 0, 1, 1, 255], np.uint8)
    guess = np.array([0, 255, 254, 253, 9, 255], np.uint8)
    m = ConfusionMatrix(2, missing=(255, 254, 253)).update(truth, guess)
    np.testing.assert_array_equal(m.columns, [[1, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]])
    np.testing.assert_allclose(m.recall(), [1 / 3, 0])


def test_only_keeps_what_is_asked_for() -> None:
    m = ConfusionMatrix(range(6)).update(np.array([1, 1, 4, 4]), np.array([1, 5, 4, 1]))
    small = m.only((1, 4))
    np.testing.assert_array_equal(small.columns, [[1, 0, 1], [1, 1, 0]])
    assert small.codes == (1, 4)
    with pytest.raises(ValueError, match="cannot be left out"):
        m.only((1, 5))


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(TypeError, match="integers"):
        ConfusionMatrix(2).update(np.zeros(3, np.float32), np.zeros(3, np.uint8))
    with pytest.raises(ValueError, match="outside"):
        ConfusionMatrix(2, ignore=(-99_999,)).update(np.zeros(3, int), np.zeros(3, int))
    with pytest.raises(ValueError, match="not all different"):
        ConfusionMatrix((0, 1), missing=(1,))
    m = ConfusionMatrix(2)
    with pytest.raises(ValueError, match=r"codes outside 0…1: 4, 7"):
        m.update(np.array([0, 4, 7]), np.array([0, 0, 0]))
    assert m.total == 0
