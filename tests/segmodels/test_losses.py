"""Losses against arithmetic on a few pixels."""

import numpy as np
import pytest

from segmodels.losses import DiceCrossEntropy, SoftDice, SparseCrossEntropy

LOGITS = np.log(
    np.array([[[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6], [0.5, 0.25, 0.25]]], np.float32)
)
LABELS = np.array([[0, 1, 2, 255]], np.uint8)


def value(loss, labels=LABELS, logits=LOGITS) -> float:  # type: ignore[no-untyped-def]
    return float(loss(labels, logits))


def test_cross_entropy_is_the_mean_over_counted_pixels() -> None:
    assert value(SparseCrossEntropy()) == pytest.approx(-(np.log(0.7) + 2 * np.log(0.6)) / 3, rel=1e-5)


def test_cross_entropy_does_not_change_when_ignored_pixels_do() -> None:
    other = LOGITS.copy()
    other[0, 3] = [50, -50, 0]
    assert value(SparseCrossEntropy(), logits=other) == value(SparseCrossEntropy())


def test_class_weights_weigh_pixels_and_their_sum_divides() -> None:
    expected = -(1 * np.log(0.7) + 2 * np.log(0.6) + 5 * np.log(0.6)) / 8
    assert value(SparseCrossEntropy(class_weights=(1, 2, 5))) == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_holds_for_huge_logits() -> None:
    logits = np.array([[[1000.0, 0.0, -1000.0]]], np.float32)
    assert value(SparseCrossEntropy(), np.array([[1]]), logits) == pytest.approx(1000.0)


def test_everything_ignored_costs_nothing() -> None:
    labels = np.full_like(LABELS, 255)
    assert value(SparseCrossEntropy(), labels) == 0
    assert value(SoftDice(), labels) == 0


def test_dice_by_hand() -> None:
    # sums of p over the three counted pixels are 1.0, 1.0, 1.0; hits 0.7, 0.6, 0.6
    expected = 1 - np.mean([2 * 0.7 / 2, 2 * 0.6 / 2, 2 * 0.6 / 2])
    assert value(SoftDice()) == pytest.approx(expected, rel=1e-5)


def test_dice_leaves_out_absent_and_skipped_classes() -> None:
    labels = np.array([[0, 1, 1, 255]], np.uint8)
    zero, one = 2 * 0.7 / (1.0 + 1), 2 * (0.6 + 0.2) / (1.0 + 2)
    assert value(SoftDice(), labels) == pytest.approx(1 - (zero + one) / 2, rel=1e-5)
    assert value(SoftDice(skip=(0,)), labels) == pytest.approx(1 - one, rel=1e-5)


def test_dice_sums_over_the_batch_not_per_image() -> None:
    once = value(SoftDice())
    twice = value(SoftDice(), np.concatenate([LABELS, LABELS]), np.concatenate([LOGITS, LOGITS]))
    assert twice == pytest.approx(once, rel=1e-5)


def test_dice_cross_entropy_is_their_sum() -> None:
    both = DiceCrossEntropy(class_weights=(1, 2, 3), skip=(0,), dice_weight=0.5)
    expected = value(SparseCrossEntropy(class_weights=(1, 2, 3))) + 0.5 * value(SoftDice(skip=(0,)))
    assert value(both) == pytest.approx(expected, rel=1e-6)


def test_labels_may_have_a_last_axis_of_one() -> None:
    assert value(SparseCrossEntropy(), LABELS[..., None]) == value(SparseCrossEntropy())


@pytest.mark.parametrize(
    "loss", [SparseCrossEntropy(class_weights=(1, 2, 3)), SoftDice(skip=(1,)), DiceCrossEntropy()]
)
def test_losses_come_back_from_their_configuration(loss) -> None:  # type: ignore[no-untyped-def]
    assert value(type(loss).from_config(loss.get_config())) == value(loss)
