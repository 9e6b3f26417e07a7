"""What a data set does not say of itself: channels and classes, from its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segmodels.bundles.card import ChannelCard, ClassCard
from tasks.datasets.dataset import DatasetItem
from tasks.datasets.manifest import make_classes
from tasks.datasets.sources import PICTURE_SUFFIXES, Source, open_source
from tasks.datasets.truths import MaskTruth
from tasks.datasets.windows import bands_of
from tasks.errors import InputError

#: Files looked at for the number of channels.
_LOOK = 25
#: More different values than this in masks are no classes.
MOST_VALUES = 64
#: Values from here on mark void or foreground, rarely a class: they must be named.
FIRST_SPECIAL = 253


def infer_channels(items: Sequence[DatasetItem], *, scratch: Path) -> tuple[ChannelCard, ...]:
    """As many channels as most of the first images have; empty if none can be opened."""
    counts: Counter[int] = Counter()
    names: dict[int, tuple[str, ...]] = {}
    for item in items[:_LOOK]:
        try:
            sources = [open_source(path, scratch=scratch) for path in item.images]
        except InputError:
            # verify names the file; channels come from those that can be read
            continue
        count = sum(source.channels for source in sources)
        names.setdefault(count, _names(sources, count, item.images[0]))
        for source in sources:
            source.close()
        counts[count] += 1
    if not counts:
        return ()
    most = counts.most_common(1)[0][0]
    return tuple(ChannelCard(name=name) for name in names[most])


def infer_values(paths: Sequence[Path], *, scratch: Path) -> tuple[tuple[ClassCard, ...], dict[int, int]]:
    """Classes from the values of all masks, streaming.

    Values from 253 on are never taken for classes: they may mean void, or foreground, and
    ``verify`` asks for a word on them.

    Raises:
        InputError: The masks hold no few small numbers.
    """
    found: set[int] = set()
    for path in paths:
        try:
            mask = MaskTruth(path, scratch=scratch, listed={})
        except InputError:
            # verify names the file with its cause
            continue
        try:
            for window in bands_of(mask.shape, 1, 4):
                found.update(np.unique(mask.raw(window)).tolist())
                if len(found) > MOST_VALUES:
                    raise InputError(
                        f"{path} brings the masks to more than {MOST_VALUES} different values; name the classes in "
                        "dataset.json, or layout 'instances' if the numbers count objects."
                    )
        except InputError as error:
            if "different values" in str(error):
                raise
        finally:
            mask.close()
    codes = sorted({v for v in found if 0 <= v < FIRST_SPECIAL} | {0, 1})
    names = ["background", *(f"class{code}" for code in codes[1:])]
    if codes == [0, 1]:
        names[1] = "foreground"
    return make_classes(names, codes), {code: code for code in codes}


def _names(sources: Sequence[Source], count: int, path: Path) -> tuple[str, ...]:
    if path.name.lower().endswith(PICTURE_SUFFIXES):
        if count == 3:
            return "red", "green", "blue"
        if count == 1:
            return ("grey",)
    if count == 1:
        return ("intensity",)
    return tuple(f"band{i + 1}" for i in range(count))
