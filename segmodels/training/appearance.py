"""Augmentation of appearance alone, on normalised values: contrast, polarity, colour, sharpness.

Steps as in :mod:`segmodels.training.augment`; labels come back untouched.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from segmodels.training.augment import Step

Array = npt.NDArray[Any]


def invert(*, probability: float = 0.5) -> Step:
    """``1 - x``: bright on dark becomes dark on bright, for values normalised to 0…1."""

    def run(image: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        return (1 - image if rng.random() < probability else image), labels

    return run


def contrast(*, gain: float = 0.3, offset: float = 0.15) -> Step:
    """All channels together: times ``1 ± gain`` about their mean, plus ``± offset``."""

    def run(image: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        mean = np.float32(image.mean())
        factor = np.float32(rng.uniform(1 - gain, 1 + gain))
        return (image - mean) * factor + mean + np.float32(rng.uniform(-offset, offset)), labels

    return run


def tint(*, gain: float = 0.2, offset: float = 0.1) -> Step:
    """Each channel by itself: times ``1 ± gain``, plus ``± offset``."""

    def run(image: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        channels = image.shape[-1]
        factor = np.asarray(rng.uniform(1 - gain, 1 + gain, channels), np.float32)
        return image * factor + np.asarray(rng.uniform(-offset, offset, channels), np.float32), labels

    return run


def shuffle_channels(*, probability: float = 0.2) -> Step:
    """The channels in another order, for colours that carry no meaning by themselves."""

    def run(image: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        if rng.random() >= probability:
            return image, labels
        return image[..., rng.permutation(image.shape[-1])], labels

    return run


def grey(*, probability: float = 0.2) -> Step:
    """Every channel becomes a random mixture of all."""

    def run(image: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        if rng.random() >= probability:
            return image, labels
        mixed = image @ rng.dirichlet(np.ones(image.shape[-1])).astype(np.float32)
        return np.repeat(mixed[..., None], image.shape[-1], axis=-1), labels

    return run


def power(*, low: float = 0.6, high: float = 1.6, probability: float = 0.5) -> Step:
    """``x ** g`` for values in 0…1, with ``log g`` uniform; values outside stay as they are."""

    def run(image: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        if rng.random() >= probability:
            return image, labels
        g = np.float32(np.exp(rng.uniform(np.log(low), np.log(high))))
        inside = (image > 0) & (image < 1)
        return np.where(inside, np.clip(image, 0, 1) ** g, image), labels

    return run


def blur(*, sigma: float = 1.5, probability: float = 0.2) -> Step:
    """A Gaussian of up to ``sigma`` pixels along every spatial axis."""

    def run(image: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        if rng.random() >= probability:
            return image, labels
        from scipy import ndimage

        width = rng.uniform(0, sigma)
        return ndimage.gaussian_filter(image, (width,) * (image.ndim - 1) + (0,)), labels

    return run
