"""Items of a data set: which to score, the file to segment, the mask against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tasks.datasets.dataset import Dataset, DatasetItem, Pair
from tasks.errors import InputError, UsageError
from tasks.evaluation.inputs import write_input
from tasks.evaluation.score import ItemScore, Scoring, score_codes
from tasks.evaluation.sources import PairTruth, open_codes
from tasks.files import writing
from tasks.imagery.formats import NIFTI_SUFFIXES, TIFF_SUFFIXES
from tasks.items.item import flat
from tasks.publishing.publish import RECORD, read_record

SPLITS = ("train", "val", "test")


def chosen(folder: Path, split: str | None) -> tuple[Dataset, tuple[DatasetItem, ...]]:
    """A data set and those of its items that have truth and are in the split.

    Raises:
        InputError: It cannot be opened, or no such item is there.
        UsageError: There is no such split.
    """
    from tasks.datasets.open import open_dataset

    if split is not None and split not in SPLITS:
        raise UsageError(f"--split {split} is not one of {', '.join(SPLITS)}")
    dataset: Dataset = open_dataset(folder)
    items = tuple(i for i in dataset.items if i.truth is not None and split in (None, i.split))
    if not items:
        there = sorted({str(i.split) for i in dataset.items if i.truth is not None and i.split})
        where = f" in split {split} (there are: {', '.join(there) or 'no splits'})" if split else ""
        raise InputError(f"{folder} has no item with truth{where}; check the data set")
    return dataset, items


def item_names(items: Sequence[DatasetItem]) -> dict[str, str]:
    """Names of results: ids without slashes.

    Raises:
        InputError: Two ids become one.
    """
    names = {item.id: flat(item.id) for item in items}
    if len(set(names.values())) < len(names):
        twice = sorted(n for n in names.values() if list(names.values()).count(n) > 1)
        raise InputError(f"several items would be written as {twice[0]}; rename them in the data set")
    return names


def opened_pair(dataset: Dataset, item: DatasetItem, *, scratch: Path) -> Pair:
    """The open item."""
    from tasks.datasets.pair import open_pair

    with writing(scratch):
        scratch.mkdir(parents=True, exist_ok=True)
    pair: Pair = open_pair(dataset, item, scratch=scratch)
    return pair


def prepared(dataset: Dataset, item: DatasetItem, *, name: str, folder: Path, scratch: Path) -> Path:
    """The one file that the pipeline reads: the item's own, or one written from it by windows.

    Written are items of several files, and those in formats that the pipeline does not read (PNG).

    Raises:
        InputError: The item cannot be read.
        OutputError: ``folder`` cannot be written.
    """
    own = item.images[0]
    if len(item.images) == 1 and own.name.lower().endswith((*TIFF_SUFFIXES, *NIFTI_SUFFIXES)):
        return own
    with ExitStack() as stack:
        pair = opened_pair(dataset, item, scratch=scratch)
        stack.callback(pair.close)
        return write_input(pair, folder=folder, name=name, names=[c.name for c in dataset.channels])


def score_item(
    dataset: Dataset, item: DatasetItem, *, result: Path, scratch: Path, scoring: Scoring
) -> ItemScore:
    """Scores a run's mask against the item's truth.

    Args:
        dataset: The data set.
        item: Its item.
        result: The run's folder, which holds ``mask.tif`` or ``mask.nii.gz``.
        scratch: Folder for inflated files.
        scoring: How.

    Raises:
        InputError: There is no mask, or it does not lie on the truth's grid.
    """
    mask = next((result / n for n in ("mask.tif", "mask.nii.gz") if (result / n).is_file()), None)
    if mask is None:
        raise InputError(f"{result} holds no mask; run the evaluation again")
    with ExitStack() as stack:
        pair = opened_pair(dataset, item, scratch=scratch)
        truth = PairTruth(pair, name=item.id)
        stack.callback(truth.close)
        prediction = open_codes(mask, scratch=scratch)
        stack.callback(prediction.close)
        score = score_codes(
            truth,
            prediction,
            item=item.id,
            scoring=scoring,
            spacing=pair.spacing,
            unit="mm" if len(pair.shape) == 3 else "m",
        )
    record = read_record(result / RECORD)
    if record is None or record["status"] == "done":
        return score
    return replace(
        score, notes=(*score.notes, f"its run is {record['status']}: see {result / 'report.html'}")
    )
