"""The card of a trained bundle: what it saw, what it reaches, how to make it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segmodels.bundles.card import Card, ChannelCard, Training
from segmodels.bundles.postprocess import check_steps
from tasks.datasets.dataset import Dataset
from tasks.datasets.splits import Part
from tasks.errors import UsageError
from tasks.training.config import Config
from tasks.training.items import Seen, Split

#: Of a training at one spacing, where its scores come from.
_SCORED = "on each item's own grid: probabilities at the spacing are brought back linearly"


def make_card(
    config: Config,
    dataset: Dataset,
    split: Split,
    seen: Mapping[str, Seen],
    *,
    key: str,
    command: str,
    scores: Mapping[str, float] | None = None,
    trained: Mapping[str, Any] | None = None,
    stride: int = 1,
) -> Card:
    """The card; its channels' ranges are those of the training items, beyond which a run is *suspect*.

    Args:
        config: Of the training.
        dataset: With its classes and channels.
        split: Items by use.
        seen: What every item holds.
        key: Names the training.
        command: That made it.
        scores: On held-out items.
        trained: Steps and minutes.
        stride: Of the network.

    Raises:
        UsageError: The configuration asks for what no card can say.
    """
    try:
        check_steps(config.postprocess or (), [c.name for c in dataset.classes])
    except ValueError as error:
        raise UsageError(f"{error}; correct the configuration") from error
    channels = _channels(dataset, split, seen)
    trained_on = {part.item.id for part in split.train}
    counts = sum(seen[name].labels for name in sorted(trained_on))
    share = np.asarray(counts) / max(int(np.sum(counts)), 1)
    uses = {"train": split.train, "validation": split.val, "test": split.test}
    details = {
        "key": key,
        "seed": config.seed,
        **({"parts": {k: [p.text for p in v] for k, v in uses.items()}} if split.cut else {}),
        "items": {"train": len(split.train), "validation": len(split.val), "test": len(split.test)},
        "class_frequencies": {
            c.name: round(float(s), 6) for c, s in zip(dataset.classes, share, strict=True)
        },
        "architecture": config.model.architecture,
        "options": config.model.options,
        "patch": list(config.patch),
        "batch": config.batch,
        "precision": config.precision,
        **({} if config.spacing is None else {"spacing": list(config.spacing), "scored": _SCORED}),
        **(trained or {}),
    }
    known = {k: str(dataset.details[k]) for k in ("name", "licence", "reference") if dataset.details.get(k)}
    return Card(
        name=config.name,
        description=config.description,
        ndims=(2,) if len(config.patch) == 2 else (3,),
        classes=dataset.classes,
        channels=channels,
        normalise=config.normalise,
        tile=config.tile or tuple(-(-2 * n // stride) * stride for n in config.patch),
        overlap=config.overlap,
        stride=stride,
        padding=config.padding,
        spacing=config.spacing,
        licence=config.licence,
        training=Training(
            data=f"{known.get('name') or dataset.root.name}, {counted(split.train)} ({dataset.layout})",
            licence=known.get("licence", ""),
            command=command,
            notes=config.notes,
            details=details,
        ),
        scores=dict(scores or {}),
        postprocess=config.postprocess or (),
    )


def counted(parts: Sequence[Part]) -> str:
    """How many items, and how many parts of them, in words."""
    items = len({part.item.id for part in parts})
    said = f"{items} {'item' if items == 1 else 'items'}"
    cut = sum(part.box is not None for part in parts)
    return f"{cut} {'part' if cut == 1 else 'parts'} of {said}" if cut else said


def _channels(dataset: Dataset, split: Split, seen: Mapping[str, Seen]) -> tuple[ChannelCard, ...]:
    ranges = [seen[name].ranges for name in sorted({part.item.id for part in split.train})]
    named = dataset.channels or tuple(ChannelCard(name=f"channel {i + 1}") for i in range(len(ranges[0])))
    found = []
    for c, channel in enumerate(named):
        values = [some for r in ranges if (some := r[c]) is not None]
        limits = {"minimum": channel.minimum, "maximum": channel.maximum}
        if values:
            limits = {"minimum": min(low for low, _ in values), "maximum": max(high for _, high in values)}
        found.append(channel.model_copy(update=limits))
    return tuple(found)
