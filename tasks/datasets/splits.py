"""Which items train and which are held out: as the data set says, else by a fixed rule."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from tasks.datasets.dataset import Dataset, DatasetItem, Split
from tasks.datasets.entries import box_text
from tasks.imagery.protocol import Window

#: Blocks per axis that a lone image is cut into.
_BLOCKS = 8
_SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True)
class Part:
    """An item, or a box of it; tiles of a part never leave it.

    Attributes:
        item: The item.
        box: Window in bounds; None is the whole item.
    """

    item: DatasetItem
    box: Window | None = None

    @property
    def text(self) -> str:
        """The item's id, with the box if it is a part of it."""
        return self.item.id if self.box is None else f"{self.item.id}[{box_text(self.box)}]"


def named_parts(item: DatasetItem, shape: Sequence[int]) -> dict[Split, tuple[Part, ...]]:
    """The boxes of an item that the data set names per split, open ends filled in.

    Raises:
        ValueError: A box does not fit the item, or a trained one shares pixels with a held-out one.
    """
    found: dict[Split, tuple[Part, ...]] = dict.fromkeys(_SPLITS, ())
    for name, boxes in item.parts.items():
        for box in boxes:
            if len(box) != len(shape) or any(
                (s.start or 0) >= n or (s.stop or n) > n for s, n in zip(box, shape, strict=True)
            ):
                size = " x ".join(map(str, shape))
                raise ValueError(
                    f"{item.id} has {size} pixels, so its {name} part {box_text(box)} does not fit"
                )
            whole = tuple(slice(s.start or 0, s.stop or n) for s, n in zip(box, shape, strict=True))
            found[name] += (Part(item, whole),)
    for name in ("val", "test"):
        for held in found[name]:
            if any(overlap(held.box, part.box) for part in found["train"]):
                raise ValueError(f"a train part of {item.id} shares pixels with a {name} part")
    return found


def overlap(a: Window | None, b: Window | None) -> bool:
    """Whether two windows of one item share a pixel; None is the whole item."""
    if a is None or b is None:
        return True
    return all(s.start < t.stop and t.start < s.stop for s, t in zip(a, b, strict=True))


def make_split(
    dataset: Dataset,
    *,
    val: float = 0.2,
    test: float = 0.0,
    seed: int = 0,
    shape: Sequence[int] | None = None,
) -> dict[Split, tuple[Part, ...]]:
    """Parts per split, the same for the same ids and seed.

    What the data set names is kept. Items that it puts nowhere are dealt by a hash of their id
    (so that a new item moves no other): into ``test`` and ``val`` where the data set names none of
    those itself, else into ``train``. A single item is cut into blocks instead, whole strips of
    them along its longest axis.

    Args:
        dataset: Its items; those without truth are left out.
        val: Share held out for choices.
        test: Share held out for the final score.
        seed: Of the hash.
        shape: Of the only item, needed to cut it.

    Raises:
        ValueError: The shares leave nothing to train on, or a lone item's shape is missing.
    """
    if val < 0 or test < 0 or val + test >= 1:
        raise ValueError(f"val {val} and test {test} must be shares that leave something to train on")
    items = [item for item in dataset.items if item.truth is not None]
    if len(items) == 1 and items[0].split is None:
        return _blocks(items[0], shape, val=val, test=test)
    named = {item.split for item in items}
    shares = {"test": 0.0 if "test" in named else test, "val": 0.0 if "val" in named else val}
    parts: dict[Split, list[Part]] = {name: [] for name in _SPLITS}
    dealt: list[DatasetItem] = []
    for item in items:
        if item.split == "train" and shares["val"] > 0 and None not in named:
            dealt.append(item)
        elif item.split is not None:
            parts[item.split].append(Part(item))
        else:
            dealt.append(item)
    dealt.sort(key=lambda item: (_hash(item.id, seed), item.id))
    held_test, held_val = (_count(shares[name], len(dealt)) for name in ("test", "val"))
    for place, item in enumerate(dealt):
        held: Split = "test" if place < held_test else "val" if place < held_test + held_val else "train"
        # a named train item may be held out for choices, never for the score
        if held == "test" and item.split == "train":
            held = "train"
        parts[held].append(Part(item))
    order = {item.id: i for i, item in enumerate(items)}
    return {name: tuple(sorted(found, key=lambda p: order[p.item.id])) for name, found in parts.items()}


def _count(share: float, of: int) -> int:
    """Items held out: at least one if any is asked for and enough are left."""
    return min(of - 1, max(1, round(share * of))) if share > 0 and of > 1 else 0


def _hash(id: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\0{id}".encode()).digest()[:8])


def _blocks(
    item: DatasetItem, shape: Sequence[int] | None, *, val: float, test: float
) -> dict[Split, tuple[Part, ...]]:
    """One item cut across its longest axis: train, then val, then test, each in one piece.

    Pieces that lie together share the fewest borders, across which neighbours resemble each other.
    """
    if shape is None:
        raise ValueError("the shape of the only item is needed to cut it into blocks")
    axis = max(range(len(shape)), key=lambda a: shape[a])
    size = shape[axis]
    step = max(1, size // _BLOCKS)
    lengths = [max(step, round(share * size / step) * step) if share > 0 else 0 for share in (val, test)]
    ends = [size - sum(lengths), size - lengths[1], size]
    if ends[0] < 1:
        raise ValueError(f"an image of {size} pixels is too short to hold out {val:g} and {test:g} of it")
    starts = [0, ends[0], ends[1]]
    found: dict[Split, tuple[Part, ...]] = {}
    for name, start, end in zip(("train", "val", "test"), starts, ends, strict=True):
        box = tuple(slice(start, end) if a == axis else slice(0, n) for a, n in enumerate(shape))
        found[name] = (Part(item, box),) if end > start else ()  # type: ignore[index]
    return found
