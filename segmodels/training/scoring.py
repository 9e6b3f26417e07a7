"""Whole-image prediction in memory, for scores while and after training.

Tiles overlap by a halo that is cropped away: no blending, so that a score depends on the
model alone. Prediction proper, with images larger than memory, is not this module's task.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from segmodels.normalise import Normaliser

if TYPE_CHECKING:
    import keras

Run = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


def predict_codes(
    model: keras.Model,
    image: npt.NDArray[Any],
    *,
    normalise: Normaliser,
    tile: Sequence[int],
    halo: Sequence[int],
    wraps: Sequence[bool] | None = None,
    batch: int = 4,
    progress: Callable[[int, int], None] | None = None,
    run: Run | None = None,
) -> npt.NDArray[np.uint8]:
    """Most likely class of every pixel.

    Args:
        model: Gives one logit per class.
        image: ``(*spatial, channels)`` in the file's units.
        normalise: The image's frozen normalisation.
        tile: Model input size per axis.
        halo: Pixels cropped from each side of a tile, per axis.
        wraps: Axes whose two ends are neighbours; the others are mirrored at their ends.
        batch: Tiles predicted at once.
        progress: Called with tiles done and tiles in all.
        run: The model from :func:`compiled`, for several images: it is traced once a shape.

    Returns:
        ``(*spatial)`` uint8 codes; ties go to the lowest.
    """
    spatial = image.shape[:-1]
    core = tuple(t - 2 * h for t, h in zip(tile, halo, strict=True))
    if min(core) < 1:
        raise ValueError(f"a halo of {tuple(halo)} leaves nothing of the tile {tuple(tile)}")
    x = normalise(image)
    for axis, wrap in enumerate(wraps or (False,) * len(spatial)):
        before, after = halo[axis], halo[axis] + -spatial[axis] % core[axis]
        pad = [(before, after) if a == axis else (0, 0) for a in range(x.ndim)]
        x = np.pad(x, pad, mode="wrap" if wrap else "symmetric")
    run = run or compiled(model)
    codes = np.zeros(tuple(n - 2 * h for n, h in zip(x.shape[:-1], halo, strict=True)), np.uint8)
    starts = list(itertools.product(*(range(0, n, c) for n, c in zip(codes.shape, core, strict=True))))
    for first in range(0, len(starts), batch):
        some = starts[first : first + batch]
        tiles = np.stack([x[tuple(slice(a, a + t) for a, t in zip(s, tile, strict=True))] for s in some])
        missing = batch - len(some)
        if missing:  # one shape only, or the graph is traced again
            tiles = np.concatenate([tiles, np.zeros((missing, *tiles.shape[1:]), tiles.dtype)])
        best = run(tiles).argmax(axis=-1)
        inside = tuple(slice(h, h + c) for h, c in zip(halo, core, strict=True))
        for start, result in zip(some, best, strict=False):
            codes[tuple(slice(a, a + c) for a, c in zip(start, core, strict=True))] = result[inside]
        if progress is not None:
            progress(min(first + batch, len(starts)), len(starts))
    return codes[tuple(slice(0, n) for n in spatial)]


def predict_window(
    run: Run, x: npt.NDArray[np.float32], *, strides: Sequence[int]
) -> npt.NDArray[np.float32]:
    """Logits of one window as a single tile, mirrored at its ends up to what the network takes.

    Args:
        run: From :func:`compiled`.
        x: ``(*spatial, channels)``, normalised.
        strides: What the tile's sides are multiples of, per axis.

    Returns:
        ``(*spatial, classes)``.
    """
    spatial = x.shape[:-1]
    padded = np.pad(
        x, [*((0, -n % s) for n, s in zip(spatial, strides, strict=True)), (0, 0)], mode="symmetric"
    )
    return run(padded[None])[0][tuple(slice(0, n) for n in spatial)]


def compiled(model: keras.Model) -> Run:
    """The model's first output as a compiled call; on TensorFlow ``predict`` would copy more than it computes."""
    import keras

    def first(answer: Any) -> Any:
        return answer[0] if isinstance(answer, (list, tuple)) else answer

    if keras.backend.backend() != "tensorflow":
        return lambda x: np.asarray(first(model.predict_on_batch(x)), np.float32)
    import tensorflow as tf

    graph = tf.function(lambda x: first(model(x, training=False)))
    return lambda x: np.asarray(graph(tf.constant(x)))
