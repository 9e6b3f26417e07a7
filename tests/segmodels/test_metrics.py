"""Metrics against hand-counted cases, and exactness under any cutting."""

import math

import numpy as np
import pytest

from segmodels.metrics import ConfusionMatrix

TRUTH = np.array([[0, 0, 0, 1], [1, 1, 2, 2], [0, 255, 255, 2]], np.uint8)
GUESS = np.array([[0, 0, 1, 1], [1, 0, 2, 0], [0, 1, 2, 2]], np.uint8)
# truth 0: three right, one called 1; truth 1: two right, one called 0; truth 2: two right, one called 0


def test_counts_and_every_score_by_hand() -> None:
    m = ConfusionMatrix(3).update(TRUTH, GUESS)
    np.testing.assert_array_equal(m.counts, [[3, 1, 0], [1, 2, 0], [1, 0, 2]])
    assert m.counts.dtype == np.int64
    assert m.total == 10
    assert m.pixel_accuracy() == pytest.approx(7 / 10)
    np.testing.assert_allclose(m.recall(), [3 / 4, 2 / 3, 2 / 3])
    np.testing.assert_allclose(m.precision(), [3 / 5, 2 / 3, 1])
    np.testing.assert_allclose(m.iou(), [3 / 6, 2 / 4, 2 / 3])
    np.testing.assert_allclose(m.dice(), [6 / 9, 4 / 6, 4 / 5])
    np.testing.assert_allclose(m.f1(), m.dice())
    np.testing.assert_allclose(m.size_ratio(), [5 / 4, 1, 2 / 3])
    assert m.mean_accuracy() == pytest.approx((3 / 4 + 2 / 3 + 2 / 3) / 3)
    assert m.mean_iou() == pytest.approx((1 / 2 + 1 / 2 + 2 / 3) / 3)
    assert m.fw_iou() == pytest.approx(0.4 * 0.5 + 0.3 * 0.5 + 0.3 * 2 / 3)
    assert m.mean_dice() == pytest.approx((2 / 3 + 2 / 3 + 4 / 5) / 3)


def test_an_absent_class_is_nan_and_left_out_of_means() -> None:
    m = ConfusionMatrix(4).update(TRUTH, GUESS)
    three = ConfusionMatrix(3).update(TRUTH, GUESS)
    for score in (m.iou(), m.dice(), m.recall(), m.precision()):
        assert math.isnan(score[3])
        assert not np.isnan(score[:3]).any()
    assert m.mean_iou() == three.mean_iou()
    assert m.mean_accuracy() == three.mean_accuracy()
    assert m.fw_iou() == three.fw_iou()


def test_a_class_only_predicted_scores_zero_but_has_no_recall() -> None:
    m = ConfusionMatrix(2).update(np.zeros(4, int), np.array([0, 0, 0, 1]))
    assert m.iou()[1] == 0
    assert m.precision()[1] == 0
    assert math.isnan(m.recall()[1])
    assert m.mean_accuracy() == pytest.approx(3 / 4)


def test_a_class_never_predicted_has_precision_zero() -> None:
    m = ConfusionMatrix(2).update(np.array([0, 1]), np.array([0, 0]))
    np.testing.assert_allclose(m.precision(), [1 / 2, 0])


def test_the_ignore_label_is_never_counted_even_where_it_is_predicted() -> None:
    m = ConfusionMatrix(2, ignore=(255, 254)).update(np.array([255, 254, 0]), np.array([0, 1, 0]))
    assert m.total == 1
    assert m.pixel_accuracy() == 1
    assert math.isnan(m.iou()[1])


def test_a_prediction_that_is_no_class_is_a_miss() -> None:
    m = ConfusionMatrix(2).update(np.array([0, 0, 1, 1]), np.array([0, 254, 1, 255]))
    assert m.pixel_accuracy() == pytest.approx(1 / 2)
    np.testing.assert_allclose(m.recall(), [1 / 2, 1 / 2])
    np.testing.assert_allclose(m.precision(), [1, 1])
    np.testing.assert_allclose(m.iou(), [1 / 2, 1 / 2])


def test_any_cutting_gives_the_same_counts() -> None:
    rng = np.random.default_rng(3)
    truth = rng.choice([0, 1, 2, 255], size=(37, 41)).astype(np.uint8)
    guess = rng.integers(0, 3, truth.shape).astype(np.uint8)
    whole = ConfusionMatrix(3).update(truth, guess)
    pieces = [ConfusionMatrix(3).update(truth[a : a + 5], guess[a : a + 5]) for a in range(0, 37, 5)]
    total = sum(pieces[1:], start=pieces[0])
    np.testing.assert_array_equal(total.counts, whole.counts)
    expected = [[np.sum((truth == t) & (guess == p)) for p in range(3)] for t in range(3)]
    np.testing.assert_array_equal(whole.counts, expected)


def test_nothing_counted_is_nan() -> None:
    m = ConfusionMatrix(2)
    assert all(math.isnan(v) for v in (m.pixel_accuracy(), m.mean_iou(), m.fw_iou(), m.mean_accuracy()))


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        ConfusionMatrix(2).update(np.zeros(3, int), np.zeros(4, int))
    with pytest.raises(ValueError, match="outside"):
        ConfusionMatrix(2).update(np.array([2]), np.array([0]))
    with pytest.raises(ValueError, match="at least two"):
        ConfusionMatrix(1)
    with pytest.raises(ValueError, match="cannot be added"):
        ConfusionMatrix(2) + ConfusionMatrix(3)
