"""Scores of a network on whole items, read and predicted window by window.

An item at another spacing than the network's is predicted on the lattice of the network's; the
probabilities are brought back, linearly, and scored against the item's own truth on its own grid.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from segmodels.metrics import ConfusionMatrix
from segmodels.normalise import Normaliser
from segmodels.training.scoring import Run, compiled, predict_window
from tasks.datasets.dataset import IGNORE, Dataset, DatasetItem
from tasks.datasets.lattice import LatticePair, Opened, at_spacing
from tasks.datasets.pair import open_item
from tasks.datasets.splits import Part, overlap
from tasks.imagery.protocol import Window
from tasks.resampling.geometry import linear, source_window
from tasks.training.items import group_of
from tasks.training.tiles import positions_of

if TYPE_CHECKING:
    import keras

#: Pixels along each axis that are predicted at once, by number of axes of the model.
_CHUNK = {2: 1024, 3: 128}
#: Context around them, cropped away.
_HALO = {2: 64, 3: 16}


@dataclass(frozen=True)
class Counted:
    """How an item was predicted.

    Attributes:
        part: The item, or a box of it.
        matrix: Its pixels by true and predicted position of the logits.
        pixels: All of them, those of unknown truth too.
    """

    part: Part
    matrix: ConfusionMatrix
    pixels: int


@dataclass(frozen=True)
class Example:
    """A window of an item with its truth and prediction.

    Attributes:
        part: The item, or a box of it.
        image: ``(*window, channels)`` in the file's units.
        valid: ``(*window)``; false where the image is nodata.
        truth: ``(*window)`` positions of the logits, or IGNORE.
        predicted: ``(*window)`` positions of the logits.
    """

    part: Part
    image: npt.NDArray[np.float32]
    valid: npt.NDArray[np.bool_]
    truth: npt.NDArray[np.int16]
    predicted: npt.NDArray[np.intp]


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
        trained: Parts that no score may read, not even as context.
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
        trained: Sequence[Part] = (),
    ) -> None:
        self._trained = trained
        self._dataset, self._normalisers, self._codes = dataset, normalisers, list(codes)
        self._ndim, self._strides, self._balance_by, self._scratch = ndim, strides, balance_by, scratch
        self._spacing = spacing
        self._run: tuple[keras.Model, Run] | None = None

    def scores(self, network: keras.Model, parts: Sequence[Part], *, score: str) -> dict[str, float]:
        """Pooled over all items: ``score`` first, then the IoU per class (after the Dice, where that is the score), then the score per group.

        Args:
            network: Its first output counts.
            parts: Items, or boxes of one, read one after the other.
            score: ``mean_iou``, ``mean_dice`` or ``foreground_iou``.
        """
        return self.pooled([self.counted(network, part) for part in parts], score=score)

    def pooled(self, items: Sequence[Counted], *, score: str) -> dict[str, float]:
        """What :meth:`scores` gives, of items that are counted already."""
        groups: dict[str, ConfusionMatrix] = {}
        for item in items:
            group = group_of(item.part.item, self._balance_by)
            groups[group] = item.matrix + groups[group] if group in groups else item.matrix
        total = sum(groups.values(), start=self._empty())
        names = [c.name.replace(" ", "_") for c in self._dataset.classes]
        found = {"score": score_of(total, score)}
        each = {"dice": total.dice()} if score == "mean_dice" else {}
        for measure, values in {**each, "iou": total.iou()}.items():
            found |= {f"{measure}_{n}": float(v) for n, v in zip(names, values, strict=True)}
        found["pixel_accuracy"] = total.pixel_accuracy()
        if len(groups) > 1:
            found |= {f"{score}_{g or 'other'}": score_of(m, score) for g, m in sorted(groups.items())}
        return found

    def counted(self, network: keras.Model, part: Part) -> Counted:
        """An item, or a box of one, predicted and compared with its truth window by window."""
        matrix, pixels, run = self._empty(), 0, self._compiled(network)
        pair = at_spacing(open_item(self._dataset, part.item, scratch=self._scratch), self._spacing)
        try:
            for core, padded in self._windows(pair, part):
                found = self._predicted(pair, core, padded, run)
                matrix.update(self._positions(_own(pair).truth(core)), found)
                pixels += found.size
        finally:
            pair.close()
        return Counted(part, matrix, pixels)

    def seen(self, network: keras.Model, part: Part) -> Example:
        """The middle one of the windows in which an item is scored, to be looked at."""
        pair = at_spacing(open_item(self._dataset, part.item, scratch=self._scratch), self._spacing)
        try:
            every = self._windows(pair, part)
            core, padded = every[len(every) // 2]
            found = self._predicted(pair, core, padded, self._compiled(network))
            pixels, truth = _own(pair).read(core)
            return Example(part, pixels.values, pixels.valid, self._positions(truth), found)
        finally:
            pair.close()

    def _compiled(self, network: keras.Model) -> Run:
        if self._run is None or self._run[0] is not network:
            self._run = network, compiled(network)
        return self._run[1]

    def _empty(self) -> ConfusionMatrix:
        return ConfusionMatrix(len(self._codes), ignore=(IGNORE,))

    def _positions(self, truth: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
        return positions_of(truth, np.asarray(self._codes, np.int16))

    def _windows(self, pair: Opened, part: Part) -> list[tuple[Window, Window]]:
        steps = pair.steps if isinstance(pair, LatticePair) else None
        every = windows(_own(pair).shape, ndim=self._ndim, box=part.box, steps=steps)
        return [(core, clear_of(padded, core, self._trained_boxes(part.item))) for core, padded in every]

    def _trained_boxes(self, item: DatasetItem) -> list[Window]:
        """What was trained of an item, if that is a part of it."""
        return [t.box for t in self._trained if t.item is item and t.box is not None]

    def _predicted(self, pair: Opened, core: Window, padded: Window, run: Run) -> npt.NDArray[np.intp]:
        """Positions of the logits over ``core`` of the item's own pixels."""
        if isinstance(pair, LatticePair):
            return self._from_lattice(pair, core, run)
        inside = tuple(slice(c.start - p.start, c.stop - p.start) for c, p in zip(core, padded, strict=True))
        return self._logits(pair, padded, run).argmax(axis=-1)[inside]

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
        trained = [
            tuple(
                slice(math.floor(s.start / f), math.ceil(s.stop / f))
                for s, f in zip(box, pair.steps, strict=True)
            )
            for box in self._trained_boxes(pair.item)
        ]
        padded = clear_of(padded, need, trained)
        logits = self._logits(pair, padded, run)
        shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        return linear(shares, core, pair.shape, back, padded).argmax(axis=-1)


def _own(pair: Opened) -> Opened:
    """The item on its own grid."""
    return pair.native if isinstance(pair, LatticePair) else pair


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


def clear_of(
    padded: tuple[slice, ...], core: tuple[slice, ...], boxes: Sequence[Window]
) -> tuple[slice, ...]:
    """A window cut so that it reads none of the boxes, as far as its core does not lie in one itself."""
    for box in boxes:
        if not overlap(padded, box) or overlap(core, box):
            continue
        gaps = [max(c.start - b.stop, b.start - c.stop) for c, b in zip(core, box, strict=True)]
        axis = int(np.argmax(gaps))  # cut where the most context remains
        start, stop = padded[axis].start, padded[axis].stop
        if core[axis].start >= box[axis].stop:
            start = max(start, box[axis].stop)
        else:
            stop = min(stop, box[axis].start)
        padded = (*padded[:axis], slice(start, stop), *padded[axis + 1 :])
    return padded


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
