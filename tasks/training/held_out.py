"""Scores of the held-out items in full: per class, per item, with intervals, as an evaluation gives them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from segmodels.bundles.card import ClassCard
from tasks.evaluation.classes import OUTSIDE
from tasks.evaluation.evaluate import few_items
from tasks.evaluation.intervals import Bootstrap
from tasks.evaluation.results import summarise
from tasks.evaluation.score import ItemScore
from tasks.training.evaluate import Counted

#: What the validation items were used for before they were scored.
CHOSEN_ON = (
    "these are the validation items, by which the kept weights were chosen: expect a little less of others"
)


def held_out_result(
    items: Sequence[Counted], classes: Sequence[ClassCard], *, name: str, where: str
) -> dict[str, Any]:
    """What ``held_out.json`` holds; its keys are those of an evaluation's ``scores.json``.

    Args:
        items: Predicted and counted.
        classes: In the order of the logits.
        name: Of the bundle.
        where: The split: *test* or *validation*.
    """
    bootstrap = Bootstrap()
    codes = tuple(c.code for c in classes)
    scored = [
        ItemScore(
            item.part.text,
            "scored",
            codes=codes,
            counts=np.pad(item.matrix.counts, ((0, 0), (0, len(OUTSIDE)))),
            ignored=item.pixels - item.matrix.total,
        )
        for item in items
    ]
    return {
        "segflow": version("segflow"),
        "title": f"{name} on {len(items)} {where} {'item' if len(items) == 1 else 'items'}",
        "status": "done",
        "split": where,
        **summarise(scored, classes, bootstrap=bootstrap),
        "settings": {
            "level": bootstrap.level,
            "resamples": bootstrap.resamples,
            "seed": bootstrap.seed,
            "intervals": "percentile bootstrap over items",
        },
        "notes": [*([CHOSEN_ON] if where == "validation" else []), *few_items(len(items))],
    }


def from_worst_to_best(items: Sequence[Counted], *, count: int) -> list[Counted]:
    """Items to look at, evenly from the lowest mean IoU to the highest."""
    order = sorted(items, key=lambda item: (float(np.nan_to_num(item.matrix.mean_iou())), item.part.text))
    wanted = min(count, len(order))
    places = np.linspace(0, len(order) - 1, wanted).round().astype(int) if wanted > 1 else np.arange(wanted)
    return [order[i] for i in places]
