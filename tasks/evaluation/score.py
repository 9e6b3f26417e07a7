"""Scoring one item: grids compared, pixels counted, surfaces measured."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segmodels.bundles.card import ClassCard
from segmodels.metrics import ConfusionMatrix
from tasks.errors import InputError
from tasks.evaluation.classes import FOUND, MISSING, OUTSIDE, missing_codes
from tasks.evaluation.counting import count_pair
from tasks.evaluation.grids import check_same_grid, spacing_of
from tasks.evaluation.sources import Codes, open_codes
from tasks.evaluation.surfaces import ItemSurface, item_surfaces

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Scoring:
    """How items are scored.

    Attributes:
        classes: None to find them in the files.
        ignore: Truth labels that count for nothing, besides those of missing pixels.
        surfaces: Whether surface distances are measured; None: in volumes only.
        tolerance: Of the surface Dice, in mm (m in rasters with metres, else pixels).
        threads: Windows at once.
        background: Codes that have no surface worth measuring, where classes are found.
    """

    classes: tuple[ClassCard, ...] | None = None
    ignore: tuple[int, ...] = ()
    surfaces: bool | None = None
    tolerance: float = 2.0
    threads: int = 2
    background: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class ItemScore:
    """What is known of one item.

    Attributes:
        id: The item's id.
        status: *scored* or *failed*.
        reason: Why it failed.
        codes: Classes that occur (or all, where they are known).
        counts: ``(codes, codes + 4)``: predictions of each class, nodata, failed, unobserved, other.
        ignored: Pixels whose truth counts for nothing.
        surfaces: Per class code, where measured.
        unit: Of distances.
        notes: Sentences that a user should see.
    """

    id: str
    status: str
    reason: str = ""
    codes: tuple[int, ...] = ()
    counts: Counts = field(default_factory=lambda: np.zeros((0, len(OUTSIDE)), np.int64))
    ignored: int = 0
    surfaces: dict[int, ItemSurface] = field(default_factory=dict)
    unit: str = ""
    notes: tuple[str, ...] = ()

    def table(self, codes: Sequence[int]) -> Counts:
        """Its counts among other classes: ``(codes, codes + 4)``."""
        at = [list(codes).index(c) for c in self.codes]
        n = len(codes)
        out = np.zeros((n, n + len(OUTSIDE)), np.int64)
        out[np.ix_(at, [*at, *range(n, n + len(OUTSIDE))])] = self.counts
        return out


def score_files(truth: Path, prediction: Path, *, item: str, scratch: Path, scoring: Scoring) -> ItemScore:
    """Scores a mask in a file against truth in a file.

    Raises:
        InputError: One of them cannot be used, or they do not lie on one grid.
    """
    with ExitStack() as stack:
        opened = []
        for path in (truth, prediction):
            opened.append(open_codes(path, scratch=scratch))
            stack.callback(opened[-1].close)
        return score_codes(*opened, item=item, scoring=scoring)


def score_codes(
    truth: Codes,
    prediction: Codes,
    *,
    item: str,
    scoring: Scoring,
    spacing: tuple[float, ...] | None = None,
    unit: str | None = None,
) -> ItemScore:
    """Scores an open mask against open truth.

    Args:
        truth: What is right.
        prediction: What is scored.
        item: The item's id.
        scoring: How.
        spacing: Of the item, if known better than from the files.
        unit: Of the spacing.

    Raises:
        InputError: They do not lie on one grid, or a file is damaged.
    """
    check_same_grid(truth, prediction)
    known = FOUND if scoring.classes is None else tuple(c.code for c in scoring.classes)
    ignore = _ignored(truth, scoring, known)
    empty = ConfusionMatrix(known, ignore=ignore, missing=missing_codes(known))
    matrix = count_pair(truth, prediction, empty, threads=scoring.threads)
    notes = _notes(truth, matrix, ignore, found=scoring.classes is None)
    if scoring.classes is None:
        matrix = _occurring(matrix)
    counts, codes = _named_columns(matrix), matrix.codes
    grid = spacing_of(truth.info or prediction.info, axes=len(truth.shape))
    steps, name = (spacing, unit or "pixels") if spacing else grid
    surfaces: dict[int, ItemSurface] = {}
    if scoring.surfaces or (scoring.surfaces is None and len(truth.shape) == 3):
        wanted = [
            c
            for c in codes
            if (
                c not in scoring.background
                if scoring.classes is None
                else next(k.region for k in scoring.classes if k.code == c)
            )
        ]
        surfaces = item_surfaces(
            truth,
            prediction,
            codes=wanted,
            ignore=ignore,
            spacing=steps,
            tolerance=scoring.tolerance,
            threads=scoring.threads,
        )
    pixels = int(np.prod(truth.shape, dtype=np.int64))
    return ItemScore(
        item,
        "scored",
        codes=codes,
        counts=counts,
        ignored=pixels - matrix.total,
        surfaces=surfaces,
        unit=name,
        notes=notes,
    )


def _ignored(truth: Codes, scoring: Scoring, known: Sequence[int]) -> tuple[int, ...]:
    """Labels of the truth that say nothing: those asked for, those of missing pixels, the file's own nodata."""
    labels = {-1, *MISSING} - set(known)
    if truth.nodata is not None and (scoring.classes is None or truth.nodata not in known):
        labels.add(truth.nodata)
    return tuple(sorted(labels | set(scoring.ignore)))


def _notes(truth: Codes, matrix: ConfusionMatrix, ignore: Sequence[int], *, found: bool) -> tuple[str, ...]:
    out = []
    if not matrix.total:
        out.append(f"{truth.name} holds no pixel that counts: every one is ignored")
    elif found and (matrix.columns.sum(axis=1) > 0).sum() == 1:
        only = matrix.codes[int(np.argmax(matrix.columns.sum(axis=1)))]
        out.append(
            f"{truth.name} holds one class only, {only}; if another is coded {ignore[-1]} or 255, "
            "which mean nodata, write it with a lower code"
        )
    if found and truth.nodata is not None and truth.nodata < FOUND[-1]:
        out.append(
            f"{truth.name} declares code {truth.nodata} as nodata, so it is ignored; name it with --classes to count it"
        )
    return tuple(out)


def _occurring(matrix: ConfusionMatrix) -> ConfusionMatrix:
    """The matrix of classes that the truth or the prediction holds; at least two, as a matrix needs."""
    columns = matrix.columns
    seen = columns.sum(axis=1) + columns[:, : matrix.classes].sum(axis=0) > 0
    codes = [c for c, there in zip(matrix.codes, seen, strict=True) if there]
    spare = [c for c in matrix.codes if c not in codes]
    return matrix.only(sorted([*codes, *spare[: max(0, 2 - len(codes))]]))


def _named_columns(matrix: ConfusionMatrix) -> Counts:
    """Columns of 8-bit and 16-bit codes of one meaning together."""
    columns, n = matrix.columns, matrix.classes
    out = np.zeros((n, n + len(OUTSIDE)), np.int64)
    out[:, :n] = columns[:, :n]
    for i, code in enumerate(matrix.missing):
        out[:, n + OUTSIDE.index(MISSING[code])] += columns[:, n + i]
    out[:, -1] += columns[:, -1]
    return out


def failed(item: str, error: InputError | Exception) -> ItemScore:
    """An item that could not be scored costs itself only."""
    return ItemScore(item, "failed", reason=str(error))
