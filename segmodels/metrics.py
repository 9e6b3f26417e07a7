"""Metrics from one confusion matrix of int64 counts: exact however an image was cut up."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class ConfusionMatrix:
    """Counts of (truth, prediction) pairs, added up tile by tile.

    A class absent from truth and prediction has no score: NaN, and left out of means.
    Pixels whose truth is an ignore label are never counted; a prediction outside the
    classes (nodata, failed) at a counted pixel is a miss of its true class.

    Args:
        classes: Number of classes; codes are 0…classes-1.
        ignore: Truth labels that count for nothing.
    """

    def __init__(self, classes: int, *, ignore: tuple[int, ...] = (255,)) -> None:
        if classes < 2:
            raise ValueError(f"a confusion matrix needs at least two classes, not {classes}")
        self.classes = classes
        self.ignore = ignore
        self._counts = np.zeros((classes, classes + 1), np.int64)

    def update(self, truth: npt.NDArray[Any], prediction: npt.NDArray[Any]) -> ConfusionMatrix:
        """Adds pixels; both arrays hold integer codes and have one shape.

        Raises:
            ValueError: Shapes differ, or the truth holds a code that is neither a class
                nor an ignore label.
        """
        if truth.shape != prediction.shape:
            raise ValueError(f"truth {truth.shape} and prediction {prediction.shape} differ in shape")
        counted = ~np.isin(truth, self.ignore)
        t = truth[counted].astype(np.int64)
        p = prediction[counted].astype(np.int64)
        if t.size and (t.min() < 0 or t.max() >= self.classes):
            raise ValueError(
                f"the truth holds codes outside 0…{self.classes - 1}: {int(t.min())}…{int(t.max())}"
            )
        p = np.where((p >= 0) & (p < self.classes), p, self.classes)
        width = self.classes + 1
        self._counts += np.bincount(t * width + p, minlength=self.classes * width).reshape(self._counts.shape)
        return self

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """The counts of both, as if one had seen all pixels."""
        if (self.classes, self.ignore) != (other.classes, other.ignore):
            raise ValueError("confusion matrices of different classes or ignore labels cannot be added")
        total = ConfusionMatrix(self.classes, ignore=self.ignore)
        total._counts = self._counts + other._counts
        return total

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """``(classes, classes)``: rows are truth, columns prediction."""
        return self._counts[:, : self.classes].copy()

    @property
    def total(self) -> int:
        """Pixels counted, predictions outside the classes included."""
        return int(self._counts.sum())

    @property
    def _hits(self) -> Floats:
        return np.diag(self.counts).astype(np.float64)

    @property
    def _true(self) -> Floats:
        return self._counts.sum(axis=1).astype(np.float64)

    @property
    def _predicted(self) -> Floats:
        return self.counts.sum(axis=0).astype(np.float64)

    def pixel_accuracy(self) -> float:
        """Share of pixels predicted right; NaN where none was counted."""
        return float(_divide(self._hits.sum(), np.float64(self.total)))

    def mean_accuracy(self) -> float:
        """Mean over the classes in the truth of the share of their pixels predicted right."""
        return _mean(self.recall())

    def iou(self) -> Floats:
        """Intersection over union per class."""
        return _divide(self._hits, self._true + self._predicted - self._hits)

    def mean_iou(self) -> float:
        """Mean of :meth:`iou` over the classes that occur."""
        return _mean(self.iou())

    def fw_iou(self) -> float:
        """IoU weighted by each class's share of the truth."""
        share = _divide(self._true, np.float64(self.total))
        return float(np.nansum(share * self.iou())) if self.total else float("nan")

    def precision(self) -> Floats:
        """Per class, share of the predicted pixels that are right; 0 if missed altogether."""
        return self._rate(self._predicted)

    def recall(self) -> Floats:
        """Per class, share of the true pixels that are found; NaN without true pixels."""
        return _divide(self._hits, self._true)

    def dice(self) -> Floats:
        """Dice per class, the same number as F1."""
        return _divide(2 * self._hits, self._true + self._predicted)

    f1 = dice

    def mean_dice(self) -> float:
        """Mean of :meth:`dice` over the classes that occur."""
        return _mean(self.dice())

    def size_ratio(self) -> Floats:
        """Per class, predicted over true pixels."""
        return _divide(self._predicted, self._true)

    def _rate(self, of: Floats) -> Floats:
        rate = _divide(self._hits, of)
        return np.where((of == 0) & (self._true > 0), 0.0, rate)


def _divide(a: Any, b: Any) -> Any:
    """``a / b``, NaN where ``b`` is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(b) > 0, np.asarray(a, np.float64) / b, np.nan)


def _mean(values: Floats) -> float:
    """Mean of what is not NaN; NaN of nothing."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
