"""Held-out items as pictures: the image, the truth on it, the prediction on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from segmodels.bundles.card import ClassCard
from tasks.datasets.dataset import IGNORE
from tasks.reports import paint
from tasks.reports.panels import display_channels
from tasks.training.evaluate import Example

#: Sides of a picture in pixels: at most, and at least, by repeating pixels.
LARGEST, SMALLEST = 512, 360
#: Bytes of each picture, before base64.
LIMIT = 120_000
OPACITY = 0.8
NATURAL = (["red", "green", "blue"], ["r", "g", "b"])


@dataclass(frozen=True)
class Shown:
    """One item.

    Attributes:
        pictures: JPEG of the image, of the truth and of the prediction on it.
        width: Of each.
        height: Of each.
    """

    pictures: tuple[bytes, bytes, bytes]
    width: int
    height: int


def shown(example: Example, classes: Sequence[ClassCard], channels: Sequence[str]) -> Shown:
    """Draws an example: of a volume the slice with the most of all classes but the first.

    Args:
        example: A window of an item.
        classes: In the order of the logits.
        channels: Their names, as far as they are known.
    """
    flat = _middle(_slice(example))
    names = list(channels) or [""] * flat.image.shape[-1]
    base = paint.with_nodata(_grey(flat, names), ~flat.valid)
    height, width = flat.truth.shape
    times = max(1, -(-SMALLEST // max(height, width)))
    layers = [_layer(codes, classes) for codes in (flat.truth, flat.predicted)]
    drawn = [base, *(paint.blend(base, layer, OPACITY) for layer in layers)]
    first, second, third = (
        paint.jpeg(paint.enlarge(p, times * height, times * width), limit=LIMIT) for p in drawn
    )
    return Shown((first, second, third), times * width, times * height)


def _slice(example: Example) -> Example:
    if example.truth.ndim == 2:
        return example
    found = (example.truth > 0).reshape(len(example.truth), -1).sum(axis=1)
    return _cut(example, (int(found.argmax()),))


def _middle(example: Example) -> Example:
    starts = [max(0, (n - LARGEST) // 2) for n in example.truth.shape]
    return _cut(example, tuple(slice(a, a + LARGEST) for a in starts))


def _cut(example: Example, index: tuple[int | slice, ...]) -> Example:
    return replace(
        example,
        image=example.image[index],
        valid=example.valid[index],
        truth=example.truth[index],
        predicted=example.predicted[index],
    )


def _grey(example: Example, names: list[str]) -> paint.Picture:
    """The image between its 2nd and 98th percentile; natural colours share one range, which keeps their hue."""
    channels = display_channels(names)
    known = example.image[example.valid]
    if not len(known):
        return np.zeros((*example.truth.shape, 3), np.uint8)
    ends = [tuple(np.percentile(known[:, c], (2, 98))) for c in channels]
    if [names[c].strip().lower() for c in channels] in NATURAL:
        ends = [(min(low for low, _ in ends), max(high for _, high in ends))] * len(ends)
    planes = [
        paint.stretch(example.image[..., c], *map(float, e)) for c, e in zip(channels, ends, strict=True)
    ]
    return np.stack(planes if len(planes) == 3 else planes * 3, axis=-1)


def _layer(positions: npt.NDArray[np.integer], classes: Sequence[ClassCard]) -> paint.Picture:
    """Classes in their colours, unknown truth striped; the first class stays clear."""
    unknown = len(classes)
    dumped = [{**c.model_dump(), "code": i, "region": c.region and i > 0} for i, c in enumerate(classes)]
    codes = np.where(positions == IGNORE, unknown, positions)
    return paint.layer(codes, dumped, {"unobserved": unknown, "failed": unknown + 1})
