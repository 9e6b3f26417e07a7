"""Panoptic quality and average precision, counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from segmodels.metrics import average_precision, match_instances

# Ten columns per instance. Truth 1 and prediction 5 share 8 of 12 pixels, truth 2 and prediction 6 all 10,
# truth 3 and prediction 7 share 5 of 15 (no match), truth 4 has nothing over it.
TRUTH = np.repeat([0, 1, 0, 2, 0, 3, 0, 4], [5, 10, 5, 10, 5, 10, 5, 10])
GUESS = np.repeat([0, 5, 0, 6, 0, 7, 0], [7, 10, 3, 10, 10, 10, 10])


def test_matches_and_qualities_by_hand() -> None:
    m = match_instances(TRUTH, GUESS)
    assert sorted(m.ious) == pytest.approx([8 / 12, 1])
    assert (m.true_positives, m.false_positives, m.false_negatives) == (2, 1, 2)
    assert m.labels.tolist() == [5, 6, 7]
    assert m.matched == pytest.approx([8 / 12, 1, 0])
    assert m.segmentation_quality() == pytest.approx((8 / 12 + 1) / 2)
    assert m.recognition_quality() == pytest.approx(2 / (2 + 0.5 + 1))
    assert m.panoptic_quality() == pytest.approx((8 / 12 + 1) / 3.5)
    assert m.panoptic_quality() == pytest.approx(m.segmentation_quality() * m.recognition_quality())
    assert m.critical_success() == pytest.approx(2 / 5)
    assert m.critical_success(0.7) == pytest.approx(1 / (1 + 2 + 3))


def test_an_overlap_of_exactly_half_is_no_match() -> None:
    m = match_instances(np.array([1, 1, 0]), np.array([0, 1, 0]))
    assert m.true_positives == 0
    assert m.panoptic_quality() == 0
    assert math.isnan(m.segmentation_quality())


def test_nothing_anywhere_is_nan() -> None:
    m = match_instances(np.zeros((3, 3), int), np.zeros((3, 3), int))
    assert math.isnan(m.panoptic_quality())
    assert math.isnan(m.recognition_quality())
    assert math.isnan(average_precision(m, []))


def test_void_pixels_count_for_nothing() -> None:
    truth = np.array([1, 1, 1, 1, 0, 0, 0, 0])
    guess = np.array([1, 1, 1, 0, 0, 2, 2, 2])
    void = np.array([0, 0, 0, 1, 0, 0, 1, 1], bool)
    m = match_instances(truth, guess, void=void)
    assert m.ious == pytest.approx([1])  # three of three, the fourth true pixel is void
    assert (m.false_positives, m.false_negatives) == (0, 0)  # two thirds of prediction 2 are void
    assert match_instances(truth, guess).false_positives == 1


def test_several_images_add_up() -> None:
    first, second = match_instances(TRUTH, GUESS), match_instances(GUESS, GUESS)
    both = first + second
    assert (both.true_positives, both.false_positives, both.false_negatives) == (5, 1, 2)
    assert both.panoptic_quality() == pytest.approx((8 / 12 + 1 + 3) / (5 + 0.5 + 1))


def test_average_precision_by_hand() -> None:
    m = match_instances(TRUTH, GUESS)
    # In falling confidence: a hit (precision 1 at recall 1/4), a miss, a hit (2/3 at 1/2); then nothing more.
    assert average_precision(m, [0.9, 0.1, 0.5]) == pytest.approx(1 / 4 * 1 + 1 / 4 * 2 / 3)
    assert average_precision(m, [0.9, 0.8, 0.5]) == pytest.approx(1 / 2)
    # All at once: one point, two of three at recall 1/2.
    assert average_precision(m, [0.5, 0.5, 0.5]) == pytest.approx(1 / 2 * 2 / 3)
    assert average_precision(m, [0.9, 0.8, 0.5], threshold=0.75) == pytest.approx(1 / 4 * 1 / 2)


def test_no_prediction_has_average_precision_zero() -> None:
    assert average_precision(match_instances(TRUTH, TRUTH * 0), []) == 0


def test_wrong_arguments_are_refused() -> None:
    m = match_instances(TRUTH, GUESS)
    with pytest.raises(ValueError, match="3 predicted instances but 2"):
        average_precision(m, [0.1, 0.2])
    with pytest.raises(ValueError, match="not unique"):
        average_precision(m, [0.1, 0.2, 0.3], threshold=0.3)
    with pytest.raises(ValueError, match="not unique"):
        m.critical_success(0.4)
    with pytest.raises(ValueError, match="differ in shape"):
        match_instances(TRUTH, GUESS[1:])
    with pytest.raises(ValueError, match="positive"):
        match_instances(TRUTH - 1, GUESS)
