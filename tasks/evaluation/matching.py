"""Whether a bundle and a data set speak of the same classes."""

from __future__ import annotations

from segmodels.bundles.card import Card
from tasks.datasets.dataset import Dataset
from tasks.errors import InputError


def check_classes(dataset: Dataset, card: Card) -> list[str]:
    """Notes on names that differ; classes are the same where their codes are.

    Raises:
        InputError: The data set has a class whose code the bundle does not know, or other axes.
    """
    ours = {c.code: c.name for c in card.classes}
    strange = [c for c in dataset.classes if c.code not in ours]
    if strange:
        known = ", ".join(f"{code} {name}" for code, name in ours.items())
        raise InputError(
            f"{dataset.root} has class {strange[0].code} ({strange[0].name}), which {card.name} does not know; "
            f"it knows {known}"
        )
    return [
        f"code {c.code} is {c.name} in {dataset.root.name} but {ours[c.code]} in {card.name}; they are taken for one"
        for c in dataset.classes
        if c.name.casefold() != ours[c.code].casefold()
    ]
