"""What classical methods take from the whole image: their fit, and, for some, the image as one tile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from segmodels.bundles.bundle import Bundle
from segmodels.bundles.card import Card
from segmodels.bundles.stages import answering
from segmodels.methods.base import BaseMethod, Fitted
from segmodels.methods.method import read_method
from segmodels.normalise import Normaliser
from tasks.errors import UsageError
from tasks.imagery.protocol import ImageInfo, Window
from tasks.planning.amount import say_bytes
from tasks.planning.fitting import FitError
from tasks.planning.layout import Layout, Limits, Wish, best_layout, default_layout
from tasks.planning.plan import Parameters
from tasks.planning.statistics import ChannelHistogram

#: Pixels of a sample.
SAMPLE = 1 << 16
_PIECE = 1 << 18


def method_of(bundle: Bundle) -> BaseMethod | None:
    """A bundle's method, of two stages the fine one's; None if it holds a network."""
    bundle = answering(bundle)
    return read_method(bundle.model_path, bundle.card) if bundle.kind == "method" else None


def check_whole(card: Card, method: BaseMethod | None, parameters: Parameters) -> None:
    """Refuses settings of tiles where the whole image is the tile.

    Raises:
        UsageError: Names the option.
    """
    if method is None or method.reach != "image":
        return
    for option in ("tile", "overlap", "blend"):
        if getattr(parameters, option) is not None:
            raise UsageError(
                f"--{option} does not go with {card.name}, which takes the whole image as one tile: leave it out"
            )


def fit_whole(info: ImageInfo, card: Card, wish: Wish, *, model_ndim: int, limits: Limits) -> Layout:
    """The layout of a method that sees the whole image: one tile, or one a slice or frame.

    Raises:
        FitError: It needs more memory or disk than the run may use.
    """
    shape = info.shape if wish.resampling is None else wish.resampling.lattice
    tile = tuple(max(1, n) for n in shape[-model_ndim:])
    laid = card.model_copy(update={"tile": tile, "overlap": 0.0, "blend": "crop"})
    layout = best_layout(info, laid, wish, model_ndim=model_ndim, limits=limits)
    if layout is not None:
        return layout
    needs = default_layout(info, laid, wish, model_ndim=model_ndim).needs
    disk = "" if limits.disk is None else f" and {say_bytes(limits.disk)} of disk are free"
    raise FitError(
        f"{info.source} would need {say_bytes(needs.memory)} of memory and {say_bytes(needs.disk)} of disk, because "
        f"{card.name} has to see the whole image at once, but {say_bytes(limits.memory)} of memory may be used{disk}: "
        "cut a smaller image out of it, use a machine with more, or take a method that works tile by tile (otsu, "
        "multi-otsu, kmeans, sobel)"
    )


class Sampler:
    """The valid pixels whose position hashes lowest: a fixed sample, whatever the order they come in.

    Args:
        info: The image.
        size: Pixels to keep.
    """

    def __init__(self, info: ImageInfo, *, size: int = SAMPLE) -> None:
        self._shape, self._size = info.shape, size
        self._hashes = np.empty(0, np.uint64)
        self._at = np.empty(0, np.uint64)
        self._values = np.empty((0, len(info.channels)))
        self._bound = np.uint64(np.iinfo(np.uint64).max)

    def add(self, window: Window, values: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_]) -> None:
        """Adds a window's pixels: ``values`` is ``(*window, channels)``."""
        flat = np.zeros((1,) * valid.ndim, np.uint64)
        for d, (s, n) in enumerate(zip(window, self._shape, strict=True)):
            line = np.arange(s.start, s.stop, dtype=np.uint64)
            flat = flat * np.uint64(n) + line.reshape((-1,) + (1,) * (valid.ndim - 1 - d))
        at, seen = flat.reshape(-1), valid.reshape(-1)
        pixels = values.reshape(at.size, -1)
        for start in range(0, at.size, _PIECE):
            part = slice(start, start + _PIECE)
            hashes = _hash(at[part])
            chosen = seen[part] & (hashes < self._bound)
            if chosen.any():
                self._keep(hashes[chosen], at[part][chosen], pixels[part][chosen])

    def _keep(
        self,
        hashes: npt.NDArray[np.uint64],
        at: npt.NDArray[np.uint64],
        values: npt.NDArray[np.generic],
    ) -> None:
        self._hashes = np.concatenate([self._hashes, hashes])
        self._at = np.concatenate([self._at, at])
        self._values = np.concatenate([self._values, values.astype(np.float64)])
        if self._hashes.size > self._size:
            lowest = np.argpartition(self._hashes, self._size - 1)[: self._size]
            self._hashes, self._at = self._hashes[lowest], self._at[lowest]
            self._values = self._values[lowest]
            self._bound = self._hashes.max()

    def sample(self) -> npt.NDArray[np.float64]:
        """``(n, channels)`` in raster order."""
        return self._values[np.argsort(self._at)]


def _hash(at: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A mixing of 64 bits (splitmix64's), so that no pattern of the image decides; one to one."""
    with np.errstate(over="ignore"):
        z = at + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def fit_method(
    method: BaseMethod | None,
    statistics: Sequence[ChannelHistogram],
    sampler: Sampler | None,
    normaliser: Normaliser,
) -> Fitted | None:
    """What a method takes from the whole image, in the units in which it sees tiles."""
    if method is None or not method.fits:
        return None
    sample = sampler.sample() if sampler is not None else np.empty((0, len(statistics)))
    fitted = method.fit(statistics, sample)
    return None if fitted is None else fitted.normalised(normaliser.offset, normaliser.scale)
