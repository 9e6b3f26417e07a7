"""Metrics from one confusion matrix of int64 counts: exact however an image was cut up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segmodels.metrics import formulas

Floats = npt.NDArray[np.float64]


class ConfusionMatrix:
    """Counts of (truth, prediction) pairs, added up tile by tile.

    A class absent from truth and prediction has no score: NaN, and left out of means.
    Pixels whose truth is an ignore label are never counted; a prediction outside the
    classes (nodata, failed) at a counted pixel is a miss of its true class. One matrix
    belongs to one thread; those of several threads are added.

    Args:
        classes: Number of classes, whose codes are 0…classes-1; or their codes.
        ignore: Truth labels that count for nothing.
        missing: Codes of a prediction without a class that get a column of their own;
            a last column holds what is neither.
    """

    def __init__(
        self, classes: int | Sequence[int], *, ignore: tuple[int, ...] = (255,), missing: tuple[int, ...] = ()
    ) -> None:
        self.codes = tuple(range(classes)) if isinstance(classes, int) else tuple(int(c) for c in classes)
        self.classes = len(self.codes)
        if self.classes < 2:
            raise ValueError(f"a confusion matrix needs at least two classes, not {self.classes}")
        if len({*self.codes, *missing}) != self.classes + len(missing):
            raise ValueError(
                f"codes of classes {self.codes} and missing pixels {missing} are not all different"
            )
        self.ignore = ignore
        self.missing = missing
        self._counts = np.zeros((self.classes, self.classes + len(missing) + 1), np.int64)
        self._tables: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]] | None = None

    def update(self, truth: npt.NDArray[Any], prediction: npt.NDArray[Any]) -> ConfusionMatrix:
        """Adds pixels; both arrays hold integer codes and have one shape. Releases the GIL.

        Raises:
            ValueError: Shapes differ, or the truth holds a code that is neither a class
                nor an ignore label; nothing is added then.
        """
        from segmodels.metrics.counting import count_pairs

        if truth.shape != prediction.shape:
            raise ValueError(f"truth {truth.shape} and prediction {prediction.shape} differ in shape")
        rows, columns = self._known()
        shape = (self.classes + 2, self._counts.shape[1])
        found = count_pairs(truth, prediction, rows=rows, columns=columns, shape=shape)
        if found[self.classes + 1].any():
            strange = np.setdiff1d(truth, [*self.codes, *self.ignore])
            raise ValueError(
                f"the truth holds codes outside {self._said()}: {', '.join(map(str, strange[:5].tolist()))}"
            )
        self._counts += found[: self.classes]
        return self

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """The counts of both, as if one had seen all pixels."""
        if (self.codes, self.ignore, self.missing) != (other.codes, other.ignore, other.missing):
            raise ValueError("confusion matrices of different classes or ignore labels cannot be added")
        return self._with(self._counts + other._counts)

    def only(self, codes: Sequence[int]) -> ConfusionMatrix:
        """The matrix of some of the classes; the others must not occur in the truth.

        Predictions of the others move to the last column.

        Raises:
            ValueError: A class that is left out has pixels in the truth.
        """
        kept = [self.codes.index(c) for c in codes]
        left = [i for i in range(self.classes) if i not in kept]
        if self._counts[left].any():
            raise ValueError("a class that occurs in the truth cannot be left out of the matrix")
        smaller = ConfusionMatrix(codes, ignore=self.ignore, missing=self.missing)
        smaller._counts[:, : len(kept)] = self._counts[np.ix_(kept, kept)]
        smaller._counts[:, len(kept) :] = self._counts[kept, self.classes :]
        smaller._counts[:, -1] += self._counts[np.ix_(kept, left)].sum(axis=1)
        return smaller

    def _with(self, counts: npt.NDArray[np.int64]) -> ConfusionMatrix:
        same = ConfusionMatrix(self.codes, ignore=self.ignore, missing=self.missing)
        same._counts = counts
        return same

    def _said(self) -> str:
        plain = self.codes == tuple(range(self.classes))
        return f"0…{self.classes - 1}" if plain else ", ".join(map(str, self.codes))

    def _known(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """What each code means as truth (row, ignored, unknown) and as prediction (column)."""
        from segmodels.metrics.counting import table

        if self._tables is None:
            rows = dict(zip(self.codes, range(self.classes), strict=True))
            columns = dict(zip((*self.codes, *self.missing), range(self._counts.shape[1] - 1), strict=True))
            self._tables = (
                table(rows | dict.fromkeys(self.ignore, self.classes), other=self.classes + 1),
                table(columns, other=self._counts.shape[1] - 1),
            )
        return self._tables

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """``(classes, classes)``: rows are truth, columns prediction."""
        return self._counts[:, : self.classes].copy()

    @property
    def columns(self) -> npt.NDArray[np.int64]:
        """``(classes, classes + missing + 1)``: :attr:`counts`, then predictions that are no class."""
        return self._counts.copy()

    @property
    def total(self) -> int:
        """Pixels counted, predictions outside the classes included."""
        return int(self._counts.sum())

    def pixel_accuracy(self) -> float:
        """Share of pixels predicted right; NaN where none was counted."""
        return float(formulas.pixel_accuracy(self._counts))

    def mean_accuracy(self) -> float:
        """Mean over the classes in the truth of the share of their pixels predicted right."""
        return float(formulas.mean_accuracy(self._counts))

    def iou(self) -> Floats:
        """Intersection over union per class."""
        return formulas.iou(self._counts)

    def mean_iou(self) -> float:
        """Mean of :meth:`iou` over the classes that occur."""
        return float(formulas.mean_iou(self._counts))

    def fw_iou(self) -> float:
        """IoU weighted by each class's share of the truth."""
        return float(formulas.fw_iou(self._counts))

    def precision(self) -> Floats:
        """Per class, share of the predicted pixels that are right; 0 if missed altogether."""
        return formulas.precision(self._counts)

    def recall(self) -> Floats:
        """Per class, share of the true pixels that are found; NaN without true pixels."""
        return formulas.recall(self._counts)

    def specificity(self) -> Floats:
        """Per class, share of the other classes' pixels that are not predicted as it."""
        return formulas.specificity(self._counts)

    def dice(self) -> Floats:
        """Dice per class, the same number as F1."""
        return formulas.dice(self._counts)

    f1 = dice

    def mean_dice(self) -> float:
        """Mean of :meth:`dice` over the classes that occur."""
        return float(formulas.mean_dice(self._counts))

    def size_ratio(self) -> Floats:
        """Per class, predicted over true pixels."""
        ratio: Floats = formulas.divide(formulas.predicted(self._counts), formulas.true(self._counts))
        return ratio
