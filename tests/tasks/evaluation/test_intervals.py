"""Bootstrap intervals against SciPy's, and what is missing from draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from segmodels.metrics import formulas
from tasks.evaluation.intervals import Bootstrap


def test_the_mean_of_items_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).normal(0.8, 0.1, 60)
    low, high = Bootstrap(resamples=20_000).mean(values)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", random_state=np.random.default_rng(2)
    ).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.002)


def test_pooled_scores_agree_with_scipy() -> None:
    rng = np.random.default_rng(3)
    tables = rng.integers(1, 400, (40, 2, 3)) * np.array([[9, 1, 0], [2, 7, 0]])
    low, high = Bootstrap(resamples=10_000).pooled(tables, formulas.iou)

    def iou_of_second(picks: np.ndarray) -> float:
        m = tables[picks.astype(int)].sum(axis=0)
        return m[1, 1] / (m[1].sum() + m[:, 1].sum() - m[1, 1])

    theirs = stats.bootstrap(
        (np.arange(40),), iou_of_second, n_resamples=10_000, method="percentile", vectorized=False,
        random_state=np.random.default_rng(4),
    ).confidence_interval  # fmt: skip
    assert (low[1], high[1]) == pytest.approx((theirs.low, theirs.high), abs=0.002)


def test_the_same_items_give_the_same_interval() -> None:
    values = np.random.default_rng(1).random(9)
    assert Bootstrap().mean(values) == Bootstrap().mean(values)
    assert Bootstrap(seed=1).mean(values) != Bootstrap().mean(values)
    tables = np.random.default_rng(2).integers(0, 99, (9, 3, 4))
    first = Bootstrap().pooled(tables, formulas.dice)
    np.testing.assert_array_equal(first, Bootstrap().pooled(tables, formulas.dice))


def test_a_class_of_one_item_is_left_out_of_draws_without_it() -> None:
    tables = np.zeros((6, 2, 3), np.int64)
    tables[:, 0, 0] = 10
    tables[0, 1] = [1, 3, 0]
    low, high = Bootstrap().pooled(tables, formulas.recall)
    assert (low[1], high[1]) == (0.75, 0.75)  # 3 of 4 in every draw that holds it


def test_one_item_has_no_interval() -> None:
    low, high = Bootstrap().pooled(np.ones((1, 2, 3), np.int64), formulas.iou)
    assert np.isnan([low, high]).all()
    assert low.shape == (2,)
    assert np.isnan(Bootstrap().mean(np.array([0.5, np.nan]))).all()
    low, high = Bootstrap().pooled(np.ones((1, 2, 3), np.int64), formulas.mean_iou)
    assert np.isnan([low, high]).all()


def test_a_class_that_no_item_has_is_nan() -> None:
    tables = np.zeros((5, 2, 3), np.int64)
    tables[:, 0, 0] = 1
    low, high = Bootstrap().pooled(tables, formulas.iou)
    assert (low[0], high[0]) == (1, 1)
    assert np.isnan([low[1], high[1]]).all()
