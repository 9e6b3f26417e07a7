"""Otsu's thresholds of an image's histogram: two classes, or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from segmodels.methods.base import Array, Fitted, FittedMethod, Histogram, leading

#: Bins of a histogram whose values are too many to try each as a threshold.
BINS = 256


class Otsu(FittedMethod):
    """Thresholds that leave least variance inside classes (Otsu, 1979; Liao, Chen and Chung, 2001).

    A pixel's class is the number of thresholds below its value. Integers are thresholded exactly as
    scikit-image does; floats, and integers of more than 256 values in three classes or more, in 256 bins.

    Attributes:
        channel: Position of the channel that is looked at.
        classes: Number of classes, darkest first.
    """

    libraries: ClassVar[tuple[str, ...]] = ("scikit-image",)
    maps: ClassVar[int] = 12

    kind: Literal["otsu"] = "otsu"
    channel: int = Field(default=0, ge=0)
    classes: int = Field(default=2, ge=2, le=5)

    @property
    def count(self) -> int:
        """Classes."""
        return self.classes

    def fit(self, channels: Sequence[Histogram], sample: npt.NDArray[np.float64]) -> Fitted:
        """See :class:`segmodels.methods.base.BaseMethod`."""
        return fit_thresholds(channels, self.channel, self.classes)

    def one(self, x: Array, fitted: Fitted) -> Array:
        """Distances to each class's range of values, in standard deviations."""
        value = x[..., self.channel]
        thresholds = np.asarray(fitted.thresholds, np.float32)
        edges = [np.float32(-np.inf), *thresholds, np.float32(np.inf)]
        spread = np.float32(fitted.spread[0])
        scores = np.empty((*value.shape, self.classes), np.float32)
        for k in range(self.classes):
            beyond = np.maximum(np.maximum(edges[k] - value, value - edges[k + 1]), 0)
            scores[..., k] = np.float32(-2) * np.minimum(beyond / spread, np.float32(20))
        return leading(scores, np.digitize(value, thresholds, right=True))


def fit_thresholds(channels: Sequence[Histogram], channel: int, classes: int) -> Fitted:
    """Otsu's thresholds between ``classes`` classes, and the channel's standard deviation."""
    values, counts = channels[channel].histogram()
    return Fitted(
        channel=channel,
        thresholds=otsu_thresholds(values, counts, classes, exact=channels[channel].exact),
        spread=(spread_of(values, counts),),
    )


def spread_of(values: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> float:
    """Standard deviation of a histogram; 1 where there is none."""
    total = max(1, int(counts.sum()))
    mean = float((values * counts).sum()) / total
    return float(np.sqrt((counts * (values - mean) ** 2).sum() / total)) or 1.0


def otsu_thresholds(
    values: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], classes: int, *, exact: bool
) -> tuple[float, ...]:
    """``classes - 1`` ascending thresholds; the largest repeats where there are too few values."""
    from skimage.filters import threshold_multiotsu, threshold_otsu

    if values.size <= classes:
        held = [*values[:-1].tolist(), *([values[-1].item()] * classes if values.size else [0.0] * classes)]
        return tuple(held[: classes - 1])
    if classes > 2 or not exact:
        values, counts = _even(values, counts, exact=exact)
    histogram = (counts.astype(np.float64), values)
    if classes == 2:
        return (float(threshold_otsu(hist=histogram)),)
    return tuple(float(t) for t in threshold_multiotsu(classes=classes, hist=histogram))


def _even(
    values: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], *, exact: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """A histogram of evenly spaced bins, as scikit-image wants it: of integers one a value, else 256."""
    low, high = float(values[0]), float(values[-1])
    if exact and high - low < BINS and (values == np.round(values)).all():
        dense = np.zeros(int(high - low) + 1, np.int64)
        dense[(values - low).astype(np.intp)] = counts
        return np.arange(dense.size, dtype=np.float64) + low, dense
    binned, edges = np.histogram(values, bins=BINS, weights=counts)
    return np.asarray((edges[:-1] + edges[1:]) / 2, np.float64), np.asarray(binned, np.int64)
