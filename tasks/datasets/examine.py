"""One item looked at from end to end: can it be read, does its truth fit, what does it hold."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tasks.datasets.dataset import IGNORE, Dataset, DatasetItem
from tasks.datasets.pair import Lookup, open_item_image, open_truth
from tasks.datasets.problems import Kind, Problem
from tasks.datasets.sources import Source, grid_difference
from tasks.datasets.truths import UNKNOWN, MaskTruth, Truth
from tasks.datasets.windows import bands_of
from tasks.errors import InputError

#: Different values that are counted before a mask is called no mask.
_MOST_VALUES = 4096


@dataclass
class Findings:
    """What one look gave.

    Attributes:
        item: The item.
        problems: Of this item alone.
        channels: Of its image; 0 if it cannot be opened.
        digest: Of its pixels (not of the file, so that a re-encoded copy is seen); None if unreadable.
        pixels: Per class code.
        ignored: Pixels of which nothing is known.
        looked: Whether its truth was read to the end.
    """

    item: DatasetItem
    problems: list[Problem] = field(default_factory=list)
    channels: int = 0
    digest: str | None = None
    pixels: Counter[int] = field(default_factory=Counter)
    ignored: int = 0
    looked: bool = False

    def add(self, kind: Kind, cause: str, *, file: Path | None = None, warning: bool = False) -> None:
        """Notes a problem."""
        self.problems.append(
            Problem(
                severity="warning" if warning else "error",
                kind=kind,
                item=self.item.id,
                file=None if file is None else str(file),
                cause=cause,
            )
        )


def examine(dataset: Dataset, item: DatasetItem, *, scratch: Path) -> Findings:
    """Reads an item once, band by band."""
    found = Findings(item)
    try:
        image = open_item_image(dataset, item, scratch=scratch)
    except InputError as error:
        found.add("unreadable", str(error), file=item.images[0])
        return found
    try:
        found.channels = image.channels
        truth = _truth(dataset, item, image, found, scratch)
        try:
            _read(dataset, image, truth, found)
        finally:
            if truth is not None:
                truth.close()
    finally:
        image.close()
    return found


def _truth(
    dataset: Dataset, item: DatasetItem, image: Source, found: Findings, scratch: Path
) -> Truth | None:
    if item.truth is None:
        unused = item.split == "test"
        remedy = "it cannot be scored" if unused else "add its mask or take it out"
        found.add(
            "missing truth", f"{item.images[0]} has no mask; {remedy}.", file=item.images[0], warning=unused
        )
        return None
    try:
        truth = open_truth(dataset, item, image, scratch=scratch)
    except InputError as error:
        found.add("unreadable", str(error), file=item.truth)
        return None
    problem = "differ in shape" if truth.shape != image.shape else None
    if isinstance(truth, MaskTruth):
        problem = grid_difference(image, truth.source)
    if problem is None:
        return truth
    truth.close()
    kind: Kind = "shape mismatch" if "shape" in problem else "grid mismatch"
    sizes = " × ".join(map(str, truth.shape)), " × ".join(map(str, image.shape))
    seen = problem if ":" in problem or kind == "grid mismatch" else f"{problem}: {sizes[0]} and {sizes[1]}"
    found.add(
        kind,
        f"{item.truth} and {item.images[0]} {seen}; export the mask on the image's grid.",
        file=item.truth,
    )
    return None


def _read(dataset: Dataset, image: Source, truth: Truth | None, found: Findings) -> None:
    item = found.item
    digest = hashlib.sha256(f"{image.shape} {image.channels}".encode())
    raw: Counter[int] = Counter()
    hidden: Counter[int] = Counter()
    lookup = Lookup(dataset.values)
    for window in bands_of(image.shape, image.channels, image.dtype.itemsize):
        try:
            pixels = image.read(window)
        except InputError as error:
            found.add("unreadable", str(error), file=item.images[0])
            return
        digest.update(np.ascontiguousarray(pixels.values).data)
        if truth is None:
            continue
        try:
            values = truth.raw(window)
        except InputError as error:
            found.add("unreadable", str(error), file=item.truth)
            return
        _count(values, raw)
        if not pixels.valid.all():
            _count(values[~pixels.valid], hidden)
        if len(raw) > _MOST_VALUES:
            found.add(
                "label out of range",
                f"{item.truth} holds more than {_MOST_VALUES} values; it is no mask of classes.",
                file=item.truth,
            )
            return
    found.digest = digest.hexdigest()
    if truth is not None:
        _judge(dataset, raw, hidden, lookup, found)


def _count(values: np.ndarray, counts: Counter[int]) -> None:
    for value, n in zip(*np.unique(values, return_counts=True), strict=True):
        counts[int(value)] += int(n)


def _judge(
    dataset: Dataset, raw: Counter[int], hidden: Counter[int], lookup: Lookup, found: Findings
) -> None:
    keys = sorted(raw)
    codes = dict(zip(keys, lookup(np.array(keys, np.int32)).tolist(), strict=True))
    file = found.item.truth
    strange = [value for value in keys if codes[value] < IGNORE]
    present = {value for value in keys if value != UNKNOWN}
    listed = ", ".join(str(v) for v in sorted(dataset.values) if v != UNKNOWN)
    if strange and 255 in strange and present <= {0, 255}:
        found.add(
            "0/255 coding",
            f"{file} holds only {' and '.join(map(str, sorted(present)))}: say in dataset.json whether 255 is a class "
            "('values': [255]) or not known ('ignore': [255]), or write the class's number.",
            file=file,
        )
    elif strange:
        what = ", ".join(map(str, strange[:8])) + (" …" if len(strange) > 8 else "")
        share = sum(raw[value] for value in strange) / max(1, sum(raw.values()))
        found.add(
            "label out of range",
            f"{file} holds {what} ({share:.2%} of its pixels), but classes are {listed}; list them in dataset.json "
            "under a class or in 'ignore'.",
            file=file,
        )
    for value, code in codes.items():
        if code >= 0:
            found.pixels[code] += raw[value] - hidden[value]
        else:
            found.ignored += raw[value] - hidden[value]
    found.ignored += sum(hidden.values())
    found.pixels = +found.pixels
    found.looked = True
    first = dataset.classes[0]
    if strange:
        return
    if not found.pixels:
        nothing: Kind = "nothing valid" if sum(hidden.values()) == sum(raw.values()) else "nothing known"
        what = "its image is nodata everywhere" if nothing == "nothing valid" else "it ignores every pixel"
        found.add(nothing, f"{file} teaches nothing: {what}.", file=file, warning=True)
    elif set(found.pixels) == {first.code} and not first.region:
        found.add("empty mask", f"{file} holds nothing but {first.name!r}.", file=file, warning=True)
