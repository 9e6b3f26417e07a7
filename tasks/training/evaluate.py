"""Scores of a network on whole items, read and predicted window by window.

An item at another spacing than the network's is predicted on the lattice of the network's; the
probabilities are brought back, linearly, and scored against the item's own truth on its own grid.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from segmodels.metrics import ConfusionMatrix
from segmodels.normalise import Normaliser
from segmodels.training.scoring import Run, compiled, predict_window
from tasks.datasets.dataset import IGNORE, Dataset
from tasks.datasets.lattice import LatticePair, Opened, at_spacing
from tasks.datasets.pair import open_item
from tasks.datasets.resampling import linear, source_window
from tasks.datasets.splits import Part
from tasks.imagery.protocol import Window
from tasks.training.items import group_of
from tasks.training.tiles import positions_of

if TYPE_CHECKING:
    import keras

#: Pixels along each axis that are predicted at once, by number of axes of the model.
_CHUNK = {2: 1024, 3: 128}
#: Context around them, cropped away.
_HALO = {2: 64, 3: 16}


class Evaluator:
    """Confusion matrices of items; the same object for every validation, so that nothing is traced twice.

    Args:
        dataset: Of the items.
        normalisers: Per item's id.
        codes: Class codes in the order of the logits.
        ndim: Axes of the model.
        strides: What its input's sides are multiples of, per axis.
        spacing: At which it sees items, per axis of the model; None takes each item's own.
        balance_by: A detail of items whose values get scores of their own.
        scratch: Folder for inflated volumes.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        normalisers: Mapping[str, Normaliser],
        codes: Sequence[int],
        ndim: int,
        strides: Sequence[int],
        spacing: Sequence[float] | None = None,
        balance_by: str | None,
        scratch: Path,
    ) -> None:
        self._dataset, self._normalisers, self._codes = dataset, normalisers, list(codes)
        self._ndim, self._strides, self._balance_by, self._scratch = ndim, strides, balance_by, scratch
        self._spacing = spacing
        self._run: tuple[keras.Model, Run] | None = None

    def scores(self, network: keras.Model, parts: Sequence[Part], *, score: str) -> dict[str, float]:
        """Pooled over all items: ``score`` first, then the IoU per class, then the score per group.

        Args:
            network: Its first output counts.
            parts: Items, or boxes of one, read one after the other.
            score: ``mean_iou``, ``mean_dice`` or ``foreground_iou``.
        """
        if self._run is None or self._run[0] is not network:
            self._run = network, compiled(network)
        groups: dict[str, ConfusionMatrix] = {}
        for part in parts:
            group = group_of(part.item, self._balance_by)
            matrix = groups.setdefault(group, ConfusionMatrix(len(self._codes), ignore=(IGNORE,)))
            self._add(matrix, part, self._run[1])
        total = sum(groups.values(), start=ConfusionMatrix(len(self._codes), ignore=(IGNORE,)))
        names = [c.name.replace(" ", "_") for c in self._dataset.classes]
        found = {"score": score_of(total, score)}
        found |= {f"iou_{n}": float(v) for n, v in zip(names, total.iou(), strict=True)}
        found["pixel_accuracy"] = total.pixel_accuracy()
        if len(groups) > 1:
            found |= {f"{score}_{g or 'other'}": score_of(m, score) for g, m in sorted(groups.items())}
        return found

    def _add(self, matrix: ConfusionMatrix, part: Part, run: Run) -> None:
        pair = at_spacing(open_item(self._dataset, part.item, scratch=self._scratch), self._spacing)
        own = pair.native if isinstance(pair, LatticePair) else pair
        steps = pair.steps if isinstance(pair, LatticePair) else None
        codes = np.asarray(self._codes, np.int16)
        try:
            for core, padded in windows(own.shape, ndim=self._ndim, box=part.box, steps=steps):
                if isinstance(pair, LatticePair):
                    best = self._from_lattice(pair, core, run)
                else:
                    inside = tuple(
                        slice(c.start - p.start, c.stop - p.start) for c, p in zip(core, padded, strict=True)
                    )
                    best = self._logits(pair, padded, run).argmax(axis=-1)[inside]
                matrix.update(positions_of(own.truth(core), codes), best)
        finally:
            pair.close()

    def _logits(self, pair: Opened, window: Window, run: Run) -> npt.NDArray[np.float32]:
        """``(*window, classes)``."""
        pixels = pair.pixels(window)
        x = self._normalisers[pair.item.id](pixels.values, pixels.valid)
        if x.ndim - 1 > self._ndim:  # a slice of a volume
            return predict_window(run, x[0], strides=self._strides)[None]
        return predict_window(run, x, strides=self._strides)

    def _from_lattice(self, pair: LatticePair, core: Window, run: Run) -> npt.NDArray[np.intp]:
        """The class of an item's own pixels, by the probabilities of the lattice's around them."""
        back = tuple(1 / step for step in pair.steps)
        need = source_window(core, pair.shape, back)
        halo = (0,) * (len(core) - self._ndim) + (_HALO[self._ndim],) * self._ndim
        padded = tuple(
            slice(max(s.start - h, 0), min(s.stop + h, n))
            for s, h, n in zip(need, halo, pair.shape, strict=True)
        )
        logits = self._logits(pair, padded, run)
        shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        return linear(shares, core, pair.shape, back, padded).argmax(axis=-1)


def windows(
    shape: Sequence[int], *, ndim: int, box: Window | None = None, steps: Sequence[float] | None = None
) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Windows that cover a shape once, or a box of it, each with the wider one that is read for it.

    Args:
        shape: Of an item, three axes or two.
        ndim: Axes of the model; a 2-D model goes through a volume slice by slice.
        box: What is covered; context comes from around it too.
        steps: Pixels of the item per pixel that the model sees; where that is below one, windows are
            as much smaller.
    """
    box = box or tuple(slice(0, n) for n in shape)
    finer = [min(1.0, s) for s in (steps or (1.0,) * len(shape))][len(shape) - ndim :]
    chunk = (1,) * (len(shape) - ndim) + tuple(max(1, int(_CHUNK[ndim] * s)) for s in finer)
    halo = (0,) * (len(shape) - ndim) + (_HALO[ndim],) * ndim
    starts = itertools.product(*(range(b.start, b.stop, c) for b, c in zip(box, chunk, strict=True)))
    found = []
    for start in starts:
        core = tuple(slice(a, min(a + c, b.stop)) for a, c, b in zip(start, chunk, box, strict=True))
        padded = tuple(
            slice(max(s.start - h, 0), min(s.stop + h, n)) for s, h, n in zip(core, halo, shape, strict=True)
        )
        found.append((core, padded))
    return found


def score_of(matrix: ConfusionMatrix, score: str) -> float:
    """One number, more is better; NaN becomes 0."""
    value = {"mean_iou": matrix.mean_iou, "mean_dice": matrix.mean_dice}.get(
        score, lambda: foreground_iou(matrix)
    )()
    return 0.0 if np.isnan(value) else value


def foreground_iou(matrix: ConfusionMatrix) -> float:
    """IoU of all classes but the first together: NaN where neither truth nor prediction holds one."""
    counts = matrix.counts
    either = matrix.total - int(counts[0, 0])
    return float(counts[1:, 1:].sum() / either) if either else float("nan")
