"""Augmentation of image and labels together, one tile at a time.

Each function takes its settings and gives a step ``(image, labels, rng) → (image,
labels)``: image ``(*spatial, channels)`` float32 in the units of the file (before
normalisation), labels ``(*spatial)``. Labels are only ever moved, never interpolated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Step = Callable[[Array, Array, np.random.Generator], tuple[Array, Array]]


def compose(*steps: Step) -> Step:
    """The steps one after the other."""

    def run(image: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        for step in steps:
            image, labels = step(image, labels, rng)
        return image, labels

    return run


def flip(*axes: int) -> Step:
    """Mirrors along each of the spatial axes with probability one half."""

    def run(image: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        for axis in axes:
            if rng.random() < 0.5:
                image, labels = np.flip(image, axis), np.flip(labels, axis)
        return image, labels

    return run


def quarter_turns(*, plane: Sequence[int] = (-2, -1)) -> Step:
    """Turns by 0, 90, 180 or 270° in a plane of two spatial axes of equal size.

    Args:
        plane: The axes, counted among the spatial ones; by default the last two.
    """

    def run(image: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        a, b = (axis % labels.ndim for axis in plane)
        turns = int(rng.integers(4))
        return np.rot90(image, turns, (a, b)), np.rot90(labels, turns, (a, b))

    return run


def colour(*, gain: float = 0.1, offset: float = 0.0) -> Step:
    """Per channel: times ``1 ± gain``, plus ``± offset`` (in the image's units)."""

    def run(image: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        channels = image.shape[-1]
        factor = np.asarray(rng.uniform(1 - gain, 1 + gain, channels), np.float32)
        shift = np.asarray(rng.uniform(-offset, offset, channels), np.float32)
        return image * factor + shift, labels

    return run


def gamma(low: float, high: float, *, full: float) -> Step:
    """``full · (x / full) ** g`` with ``log g`` uniform; negative values are kept as they are."""

    def run(image: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        g = np.float32(np.exp(rng.uniform(np.log(low), np.log(high))))
        return np.where(image > 0, full * (np.maximum(image, 0) / np.float32(full)) ** g, image), labels

    return run


def bias_field(strength: float, *, waves: float = 1.0) -> Step:
    """Times a smooth field within ``1 ± strength``: a sum of three cosines of random direction.

    Args:
        strength: Largest relative change.
        waves: Most periods across the tile's longest side.
    """

    def run(image: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        spatial = image.shape[:-1]
        axes = np.meshgrid(
            *(np.arange(n, dtype=np.float32) / max(spatial) for n in spatial), indexing="ij", sparse=True
        )
        field = np.zeros(spatial, np.float32)
        for _ in range(3):
            direction = rng.normal(size=len(spatial))
            direction *= rng.uniform(0, waves) / np.linalg.norm(direction)
            phase = rng.uniform(0, 2 * np.pi)
            field += np.cos(
                sum(np.float32(2 * np.pi * d) * a for d, a in zip(direction, axes, strict=True))
                + np.float32(phase)
            )
        field *= np.float32(rng.uniform(0, strength) / max(float(np.abs(field).max()), 1e-6))
        return image * (1 + field[..., None]), labels

    return run


def noise(sigma: float) -> Step:
    """Adds Gaussian noise of a standard deviation drawn from ``0 … sigma``."""

    def run(image: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        level = np.float32(rng.uniform(0, sigma))
        return image + level * rng.standard_normal(image.shape, dtype=np.float32), labels

    return run


def affine(
    *,
    zoom: float = 0.1,
    rotate: float = 0.1,
    probability: float = 0.5,
    plane: Sequence[int] | None = None,
    mode: Literal["nearest", "mirror"] = "nearest",
    together: bool = False,
) -> Step:
    """Zooms each axis by ``1 ± zoom`` and rotates by ``± rotate`` rad in a random plane.

    The image is sampled linearly, the labels nearest; what comes from outside the tile
    is its edge repeated, or with ``mode="mirror"`` the tile mirrored. ``together`` zooms all
    axes by one factor, and outwards as far as inwards.
    """

    def run(image: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        if rng.random() >= probability:
            return image, labels
        from scipy import ndimage

        spatial = image.shape[:-1]
        ndims = len(spatial)
        if together:
            matrix = np.eye(ndims) * np.exp(rng.uniform(-zoom, zoom))
        else:
            matrix = np.diag(rng.uniform(1 - zoom, 1 + zoom, ndims))
        a, b = plane if plane is not None else rng.choice(ndims, 2, replace=False)
        angle = rng.uniform(-rotate, rotate)
        turn = np.eye(ndims)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
        centre = (np.array(spatial) - 1) / 2
        shift = centre - matrix @ centre
        moved = np.stack(
            [
                ndimage.affine_transform(image[..., c], matrix, shift, order=1, mode=mode)
                for c in range(image.shape[-1])
            ],
            axis=-1,
        )
        return moved, ndimage.affine_transform(labels, matrix, shift, order=0, mode=mode)

    return run
