"""k-means of pixel values, and SLIC superpixels that take the cluster of their mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from segmodels.methods.base import Array, Fitted, FittedMethod, Histogram, Scope, leading, named

#: Restarts of k-means, each from other first centres.
STARTS = 4


class KMeans(FittedMethod):
    """The nearest of k centres, over all channels in units of their standard deviation.

    Centres are those of scikit-learn's k-means on a fixed sample of at most 65,536 pixels, with a fixed
    seed and one thread; clusters are ordered by the sum of their standardised channels, darkest first.

    Attributes:
        classes: Number of clusters.
        seed: Of the first centres.
    """

    needs_sample: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn",)
    maps: ClassVar[int] = 24

    kind: Literal["kmeans"] = "kmeans"
    classes: int = Field(default=4, ge=2, le=32)
    seed: int = Field(default=0, ge=0)

    @property
    def count(self) -> int:
        """Classes."""
        return self.classes

    def fit(self, channels: Sequence[Histogram], sample: npt.NDArray[np.float64]) -> Fitted:
        """See :class:`segmodels.methods.base.BaseMethod`."""
        return fit_centres(sample, self.classes, seed=self.seed)

    def one(self, x: Array, fitted: Fitted) -> Array:
        """Minus half the squared distance to each centre."""
        squares = squared_distances(x, fitted)
        return leading(np.maximum(np.float32(-0.5) * squares, np.float32(-40)), np.argmin(squares, axis=-1))


class Slic(FittedMethod):
    """SLIC superpixels (Achanta et al., 2012), each given to the k-means cluster nearest to its mean.

    Attributes:
        classes: Number of clusters.
        pixels: Pixels of a superpixel, about.
        compactness: How much nearness counts against likeness of values.
        seed: Of the first centres.
    """

    needs_sample: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("scikit-image", "scikit-learn")
    maps: ClassVar[int] = 48

    kind: Literal["slic"] = "slic"
    scope: Literal["image"] = "image"
    classes: int = Field(default=4, ge=2, le=32)
    pixels: int = Field(default=400, ge=4)
    compactness: float = Field(default=0.1, gt=0)
    seed: int = Field(default=0, ge=0)

    @property
    def reach(self) -> Scope:
        """How far it looks."""
        return self.scope

    @property
    def count(self) -> int:
        """Classes."""
        return self.classes

    def fit(self, channels: Sequence[Histogram], sample: npt.NDArray[np.float64]) -> Fitted:
        """See :class:`segmodels.methods.base.BaseMethod`."""
        return fit_centres(sample, self.classes, seed=self.seed)

    def one(self, x: Array, fitted: Fitted) -> Array:
        """Names the cluster of every superpixel."""
        from scipy import ndimage
        from skimage.segmentation import slic

        size = int(np.prod(x.shape[:-1]))
        labels = slic(
            x,
            n_segments=max(1, size // self.pixels),
            compactness=self.compactness,
            channel_axis=-1,
            convert2lab=False,
            start_label=0,
        )
        index = np.arange(int(labels.max()) + 1)
        means = np.stack([ndimage.mean(x[..., c], labels, index) for c in range(x.shape[-1])], axis=-1)
        nearest = np.argmin(squared_distances(means.astype(np.float32), fitted), axis=-1)
        return named(nearest[labels], self.classes)


def fit_centres(sample: npt.NDArray[np.float64], classes: int, *, seed: int) -> Fitted:
    """Centres of a sample ``(n, channels)``; the last repeats where it has too few different pixels."""
    from sklearn.cluster import KMeans as Solver
    from threadpoolctl import threadpool_limits

    spread = sample.std(axis=0)
    spread[spread == 0] = 1.0
    mean = sample.mean(axis=0)
    count = min(classes, np.unique(sample, axis=0).shape[0])
    with threadpool_limits(1):  # sums of several threads would differ in their last bits
        solved = Solver(count, n_init=STARTS, random_state=seed).fit((sample - mean) / spread)
    found = solved.cluster_centers_[np.argsort(solved.cluster_centers_.sum(axis=1), kind="stable")]
    rows = found * spread + mean
    rows = np.concatenate([rows, np.repeat(rows[-1:], classes - count, axis=0)])
    return Fitted(centres=tuple(map(tuple, rows.tolist())), spread=tuple(spread.tolist()))


def squared_distances(x: Array, fitted: Fitted) -> Array:
    """``(..., clusters)`` squared distances in standard deviations, summed in channel order."""
    out = np.zeros((*x.shape[:-1], len(fitted.centres)), np.float32)
    for k, centre in enumerate(fitted.centres):
        for c, (value, spread) in enumerate(zip(centre, fitted.spread, strict=True)):
            out[..., k] += np.square((x[..., c] - np.float32(value)) / np.float32(spread))
    return out
