"""Which items train, which decide, which score; and what the training ones look like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segmodels.bundles.card import Normalise
from segmodels.normalise import Normaliser, freeze
from tasks.datasets.dataset import Dataset, DatasetItem
from tasks.datasets.lattice import Opened, bytes_per_value, open_at
from tasks.datasets.pair import open_pair
from tasks.datasets.splits import Part, make_split, named_parts
from tasks.datasets.windows import bands_of
from tasks.errors import InputError, UsageError
from tasks.planning.statistics import ChannelHistogram, ChannelSummary
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
    """What one item holds, at the spacing of the training.

    Attributes:
        shape: Of its spatial axes.
        normaliser: Frozen with its statistics.
        channels: Count, range, mean and percentiles of the valid values looked at.
        labels: Pixels per class, in the order of the data set's classes.
    """

    shape: tuple[int, ...]
    normaliser: Normaliser
    channels: tuple[ChannelSummary, ...]
    labels: npt.NDArray[np.int64]

    @property
    def ranges(self) -> tuple[tuple[float, float] | None, ...]:
        """Lowest and highest valid value per channel; None of a channel without valid values."""
        return tuple((c.minimum, c.maximum) if c.valid else None for c in self.channels)


def survey(
    dataset: Dataset,
    item: DatasetItem,
    *,
    normalise: Sequence[Normalise],
    spacing: Sequence[float] | None = None,
    scratch: Path,
) -> Seen:
    """Reads an item once, window by window.

    Args:
        dataset: Where the item belongs.
        item: The item.
        normalise: One entry for all channels, or one per channel.
        spacing: That it is read at; None takes its own.
        scratch: Folder for inflated volumes.

    Raises:
        InputError: It cannot be read, or its truth holds a value that the data set does not list.
        UsageError: There is another number of channels than of normalisations.
    """
    pair = open_at(dataset, item, spacing=spacing, scratch=scratch)
    try:
        return _look(pair, [c.code for c in dataset.classes], normalise)
    finally:
        pair.close()


def _look(pair: Opened, codes: list[int], normalise: Sequence[Normalise]) -> Seen:
    if len(normalise) not in (1, pair.channels):
        raise UsageError(
            f"normalise: give one entry or one for each of the {pair.channels} channels, not {len(normalise)}"
        )
    every = max(1, int(np.prod(pair.shape)) // _LOOKED_AT)
    thresholds = tuple(t for n in normalise if (t := getattr(n, "foreground_above", None)) is not None)
    found = [ChannelHistogram(str(c + 1), pair.dtype, thresholds=thresholds) for c in range(pair.channels)]
    labels = np.zeros(len(codes), np.int64)
    for window in bands_of(pair.shape, pair.channels, bytes_per_value(pair)):
        pixels, truth = pair.read(window)
        labels += np.array([(truth == code).sum() for code in codes])
        values, valid = pixels.values[::every], pixels.valid[::every]
        for c, channel in enumerate(found):
            _add(channel, values[..., c][valid], pair.item)
    return Seen(
        tuple(pair.shape),
        freeze(normalise, found),
        tuple(h.summary() for h in found),
        labels,
    )


def _add(channel: ChannelHistogram, values: npt.NDArray[Any], item: DatasetItem) -> None:
    try:
        channel.add(values)
    except OverflowError as error:
        raise InputError(
            f"{item.images[0]} holds {error}, beyond float32, probably undeclared nodata; declare it in the file"
        ) from error
