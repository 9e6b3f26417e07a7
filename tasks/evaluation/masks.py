"""A folder of masks against a folder of truth."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from segmodels.bundles.card import ClassCard
from tasks.errors import InputError
from tasks.evaluation.classes import named, recorded_classes
from tasks.evaluation.folders import Match, match_masks
from tasks.evaluation.score import ItemScore, Scoring, failed, score_files
from tasks.files import writing

logger = logging.getLogger(__name__)


def score_masks(
    masks: Path, truth: Path, *, scratch: Path, scoring: Scoring, progress: Callable[[int, int], None]
) -> tuple[list[ItemScore], tuple[ClassCard, ...], list[str]]:
    """Scores every item of a folder of truth; one that cannot be scored costs itself only.

    Args:
        masks: Folder (or file) of predictions.
        truth: Folder (or file) of truth.
        scratch: Folder for inflated files; removed afterwards.
        scoring: How; its classes are completed from the masks' own records.
        progress: Told items done and items in all.

    Returns:
        Scores, the classes, and notes.

    Raises:
        InputError: There is nothing to compare.
    """
    items, spare = match_masks(masks, truth)
    notes = [f"{len(spare)} masks have no truth and are left out, the first is {spare[0]}"] if spare else []
    if scoring.classes is None:
        scoring = replace(scoring, classes=_recorded(items))
    with writing(scratch):
        scratch.mkdir(parents=True, exist_ok=True)
    scores = []
    try:
        for done, item in enumerate(items):
            progress(done, len(items))
            scores.append(_score(item, masks, scratch=scratch, scoring=scoring))
        progress(len(items), len(items))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    classes = scoring.classes or named({code: "" for score in scores for code in score.codes})
    return scores, classes, notes


def _score(item: Match, masks: Path, *, scratch: Path, scoring: Scoring) -> ItemScore:
    if item.mask is None:
        return failed(item.id, InputError(f"there is no mask of this name in {masks}"))
    try:
        return score_files(item.truth, item.mask, item=item.id, scratch=scratch, scoring=scoring)
    except InputError as error:
        logger.warning("%s", error)
        return failed(item.id, error)


def _recorded(items: Sequence[Match]) -> tuple[ClassCard, ...] | None:
    """The classes that all masks' records agree on."""
    found = {recorded_classes(item.mask) for item in items if item.mask is not None}
    return found.pop() if len(found) == 1 else None
