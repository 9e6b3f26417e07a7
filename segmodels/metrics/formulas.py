"""Scores from counts ``(…, classes, columns)``: rows are truth, the first columns the classes as predicted.

Further columns hold predictions that are no class (nodata, failed …): misses of the row's class. Leading
axes are many matrices at once, as resampling needs them. A score that has no meaning is NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def hits(counts: Counts) -> Floats:
    """Pixels of each class predicted as that class."""
    return np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)


def true(counts: Counts) -> Floats:
    """Pixels of each class in the truth."""
    return counts.sum(axis=-1).astype(np.float64)


def predicted(counts: Counts) -> Floats:
    """Pixels predicted as each class."""
    return counts[..., : counts.shape[-2]].sum(axis=-2).astype(np.float64)


def total(counts: Counts) -> Floats:
    """Pixels counted."""
    return counts.sum(axis=(-2, -1)).astype(np.float64)


def pixel_accuracy(counts: Counts) -> Floats:
    """Share of pixels predicted right; NaN where none was counted."""
    return divide(hits(counts).sum(axis=-1), total(counts))


def recall(counts: Counts) -> Floats:
    """Per class, share of the true pixels that are found; NaN without true pixels."""
    return divide(hits(counts), true(counts))


def precision(counts: Counts) -> Floats:
    """Per class, share of the predicted pixels that are right; 0 for a class missed altogether."""
    rate = divide(hits(counts), predicted(counts))
    return np.where((predicted(counts) == 0) & (true(counts) > 0), 0.0, rate)


def specificity(counts: Counts) -> Floats:
    """Per class, share of the other classes' pixels that are not predicted as it; NaN without such pixels."""
    others = total(counts)[..., np.newaxis] - true(counts)
    return divide(others - (predicted(counts) - hits(counts)), others)


def iou(counts: Counts) -> Floats:
    """Intersection over union per class."""
    return divide(hits(counts), true(counts) + predicted(counts) - hits(counts))


def dice(counts: Counts) -> Floats:
    """Dice per class, the same number as F1."""
    return divide(2 * hits(counts), true(counts) + predicted(counts))


def fw_iou(counts: Counts) -> Floats:
    """IoU weighted by each class's share of the truth."""
    known = total(counts)
    share = divide(true(counts), known[..., np.newaxis])
    return np.where(known > 0, np.nansum(share * iou(counts), axis=-1), np.nan)


def mean_accuracy(counts: Counts) -> Floats:
    """Mean of :func:`recall` over the classes in the truth."""
    return mean_of_known(recall(counts))


def mean_iou(counts: Counts) -> Floats:
    """Mean of :func:`iou` over the classes that occur."""
    return mean_of_known(iou(counts))


def mean_dice(counts: Counts) -> Floats:
    """Mean of :func:`dice` over the classes that occur."""
    return mean_of_known(dice(counts))


#: Scores of a whole matrix, and of each of its classes, in the order of tables.
OVERALL = {
    "pixel_accuracy": pixel_accuracy,
    "mean_accuracy": mean_accuracy,
    "mean_iou": mean_iou,
    "fw_iou": fw_iou,
    "mean_dice": mean_dice,
}
PER_CLASS = {
    "iou": iou,
    "dice": dice,
    "precision": precision,
    "recall": recall,
    "specificity": specificity,
}


def divide(a: Any, b: Any) -> Any:
    """``a / b``, NaN where ``b`` is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(b) > 0, np.asarray(a, np.float64) / b, np.nan)


def mean_of_known(values: Floats, *, axis: int = -1) -> Floats:
    """Mean along an axis of what is not NaN; NaN of nothing."""
    known = ~np.isnan(values)
    means: Floats = divide(np.where(known, values, 0).sum(axis=axis), known.sum(axis=axis))
    return means
