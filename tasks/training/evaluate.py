"""Scores of a network on whole items, read and predicted window by window."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from segmodels.metrics import ConfusionMatrix
from segmodels.normalise import Normaliser
from segmodels.training.scoring import Run, compiled, predict_codes
from tasks.datasets.dataset import IGNORE, Dataset, Pair
from tasks.datasets.pair import open_pair
from tasks.datasets.splits import Part, overlap
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
        stride: What its input's sides are multiples of.
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
        stride: int,
        balance_by: str | None,
        scratch: Path,
        trained: Sequence[Part] = (),
    ) -> None:
        self._trained = trained
        self._dataset, self._normalisers, self._codes = dataset, normalisers, list(codes)
        self._ndim, self._stride, self._balance_by, self._scratch = ndim, stride, balance_by, scratch
        self._run: tuple[keras.Model, Run] | None = None

    def scores(self, network: keras.Model, parts: Sequence[Part], *, score: str) -> dict[str, float]:
        """Pooled over all items: ``score`` first, then the IoU per class (after the Dice, where that is the score), then the score per group.

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
            self._add(matrix, part, network, self._run[1])
        total = sum(groups.values(), start=ConfusionMatrix(len(self._codes), ignore=(IGNORE,)))
        names = [c.name.replace(" ", "_") for c in self._dataset.classes]
        found = {"score": score_of(total, score)}
        each = {"dice": total.dice()} if score == "mean_dice" else {}
        for measure, values in {**each, "iou": total.iou()}.items():
            found |= {f"{measure}_{n}": float(v) for n, v in zip(names, values, strict=True)}
        found["pixel_accuracy"] = total.pixel_accuracy()
        if len(groups) > 1:
            found |= {f"{score}_{g or 'other'}": score_of(m, score) for g, m in sorted(groups.items())}
        return found

    def _add(self, matrix: ConfusionMatrix, part: Part, network: keras.Model, run: Run) -> None:
        pair = open_pair(self._dataset, part.item, scratch=self._scratch)
        try:
            trained = [t.box for t in self._trained if t.item is part.item and t.box is not None]
            for core, padded in windows(pair.shape, ndim=self._ndim, box=part.box):
                padded = clear_of(padded, core, trained)
                self._add_window(matrix, pair, core, padded, part.item.id, network, run)
        finally:
            pair.close()

    def _add_window(
        self,
        matrix: ConfusionMatrix,
        pair: Pair,
        core: tuple[slice, ...],
        padded: tuple[slice, ...],
        name: str,
        network: keras.Model,
        run: Run,
    ) -> None:
        image, valid = pair.image(padded), pair.valid(padded)
        normalise = self._normalisers[name]
        flat = image.ndim - 1 > self._ndim  # a slice of a volume
        shape = image.shape[1 if flat else 0 : -1]
        tile = [-(-n // self._stride) * self._stride for n in shape]
        best = predict_codes(
            network,
            image[0] if flat else image,
            normalise=_Masked(normalise, valid[0] if flat else valid),  # type: ignore[arg-type]
            tile=tile,
            halo=(0,) * self._ndim,
            batch=1,
            run=run,
        )
        best = best[None] if flat else best
        inside = tuple(slice(c.start - p.start, c.stop - p.start) for c, p in zip(core, padded, strict=True))
        truth = pair.truth(core)
        codes = np.asarray(self._codes, np.int16)
        matrix.update(positions_of(truth, codes), best[inside])


class _Masked:
    """A normaliser that puts 0 where nothing was measured."""

    def __init__(self, normalise: Normaliser, valid: npt.NDArray[np.bool_]) -> None:
        self._normalise, self._valid = normalise, valid

    def __call__(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return self._normalise(values, self._valid)


def windows(
    shape: Sequence[int], *, ndim: int, box: Window | None = None
) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Windows that cover a shape once, or a box of it, each with the wider one that is read for it.

    Args:
        shape: Of an item, three axes or two.
        ndim: Axes of the model; a 2-D model goes through a volume slice by slice.
        box: What is covered; context comes from around it too.
    """
    box = box or tuple(slice(0, n) for n in shape)
    chunk = (1,) * (len(shape) - ndim) + (_CHUNK[ndim],) * ndim
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
