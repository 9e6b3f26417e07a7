"""Which items train, which decide, which score; and what the training ones look like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segmodels.training.statistics import Histogram
from tasks.datasets.dataset import Dataset, DatasetItem, Pair
from tasks.datasets.pair import open_pair
from tasks.datasets.splits import Part, make_split, named_parts
from tasks.datasets.windows import bands_of
from tasks.errors import InputError
from tasks.training.config import Data

#: Pixels of an item that statistics look at; of larger ones every n-th row.
_LOOKED_AT = 1 << 24


@dataclass(frozen=True)
class Split:
    """Items, or boxes of a lone item, by their use; ``test`` is empty where nothing is held out for it."""

    train: tuple[Part, ...]
    val: tuple[Part, ...]
    test: tuple[Part, ...]

    @property
    def cut(self) -> bool:
        """Whether parts of an item are used, not whole ones alone."""
        return any(p.box is not None for part in (self.train, self.val, self.test) for p in part)

    @property
    def items(self) -> tuple[DatasetItem, ...]:
        """All items, each once."""
        return tuple({p.item.id: p.item for part in (self.train, self.val, self.test) for p in part}.values())


def split_items(dataset: Dataset, data: Data, *, seed: int, scratch: Path) -> Split:
    """The data set's own splits where it has them; else held out at random, alike for each value of ``balance_by``.

    A lone item is cut into blocks, of which some are held out, unless the data set names its parts.

    Raises:
        InputError: Nothing is left to train on, or to validate with.
    """
    known = [item for item in dataset.items if item.truth is not None]
    if any(item.parts for item in known):
        return _named(dataset, known, scratch=scratch)
    if len(known) == 1 and known[0].split is None:
        pair = open_pair(dataset, known[0], scratch=scratch)
        try:
            parts = make_split(dataset, val=data.validation, test=data.test, seed=seed, shape=pair.shape)
        except ValueError as error:
            raise InputError(f"{dataset.root}: {error}; change data.validation and data.test") from error
        finally:
            pair.close()
        return Split(parts["train"], parts["val"], parts["test"])
    test = [item for item in known if item.split == "test"]
    val = [item for item in known if item.split == "val"]
    train = [item for item in known if item.split in (None, "train")]
    rng = np.random.default_rng([seed, 1])
    if not test and data.test:
        test, train = _held_out(train, data, data.test, rng)
    if not val:
        val, train = _held_out(train, data, data.validation, rng)
    if not train or not val:
        raise InputError(
            f"{dataset.root} has {len(known)} items with truth, too few for training and validation: "
            "add some, or name splits in its dataset.json"
        )
    return Split(*(tuple(Part(item) for item in items) for items in (train, val, test)))


def _named(dataset: Dataset, known: Sequence[DatasetItem], *, scratch: Path) -> Split:
    """The boxes that the data set names; whole items beside them train unless they are named otherwise."""
    found: dict[str, list[Part]] = {"train": [], "val": [], "test": []}
    for item in known:
        if not item.parts:
            found[item.split or "train"].append(Part(item))
            continue
        pair = open_pair(dataset, item, scratch=scratch)
        try:
            for name, parts in named_parts(item, pair.shape).items():
                found[name] += parts
        except ValueError as error:
            raise InputError(f"{dataset.root}: {error}; correct 'parts'") from error
        finally:
            pair.close()
    if not found["train"] or not found["val"]:
        raise InputError(f"{dataset.root} names parts, but none to train on or none to validate with; add it")
    return Split(tuple(found["train"]), tuple(found["val"]), tuple(found["test"]))


def group_of(item: DatasetItem, balance_by: str | None) -> str:
    """The value by which an item is balanced; an item without it forms the group ``""``."""
    return "" if balance_by is None else str(item.details.get(balance_by, ""))


def _held_out(
    items: Sequence[DatasetItem], data: Data, share: float, rng: np.random.Generator
) -> tuple[list[DatasetItem], list[DatasetItem]]:
    held: set[str] = set()
    for group in sorted({group_of(item, data.balance_by) for item in items}):
        ids = [item.id for item in items if group_of(item, data.balance_by) == group]
        count = max(1, round(share * len(ids))) if len(ids) > 1 else 0
        held |= set(rng.permutation(ids)[:count].tolist())
    return [i for i in items if i.id in held], [i for i in items if i.id not in held]


@dataclass(frozen=True)
class Seen:
    """What one item holds.

    Attributes:
        shape: Of its spatial axes.
        histograms: Of its channels, over valid pixels.
        labels: Pixels per class, in the order of the data set's classes.
    """

    shape: tuple[int, ...]
    histograms: tuple[Histogram, ...]
    labels: npt.NDArray[np.int64]


def survey(dataset: Dataset, item: DatasetItem, *, scratch: Path) -> Seen:
    """Reads an item once, window by window.

    Raises:
        InputError: It cannot be read, or its truth holds a value that the data set does not list.
    """
    pair = open_pair(dataset, item, scratch=scratch)
    try:
        return _look(pair, [c.code for c in dataset.classes], max(1, len(dataset.channels)))
    finally:
        pair.close()


def _look(pair: Pair, codes: list[int], channels: int) -> Seen:
    every = max(1, int(np.prod(pair.shape)) // _LOOKED_AT)
    found: list[list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]] = []
    labels = np.zeros(len(codes), np.int64)
    for window in bands_of(pair.shape, channels, 4):
        truth = pair.truth(window)
        labels += np.array([(truth == code).sum() for code in codes])
        image, valid = pair.image(window)[::every], pair.valid(window)[::every]
        if not found:
            found = [[] for _ in range(image.shape[-1])]
        for c, parts in enumerate(found):
            parts.append(np.unique(image[..., c][valid], return_counts=True))
    return Seen(tuple(pair.shape), tuple(_merged(parts) for parts in found), labels)


def _merged(parts: Sequence[tuple[npt.NDArray[Any], npt.NDArray[Any]]]) -> Histogram:
    values, places = np.unique(np.concatenate([v for v, _ in parts]), return_inverse=True)
    counts = np.bincount(places, np.concatenate([n for _, n in parts]), minlength=len(values))
    return Histogram(values.astype(np.float64), counts.astype(np.int64))
