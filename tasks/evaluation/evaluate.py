"""From items' scores to a finished evaluation in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from segmodels.bundles.card import ClassCard
from tasks.errors import InputError
from tasks.evaluation.intervals import Bootstrap
from tasks.evaluation.results import summarise
from tasks.evaluation.score import ItemScore, Scoring
from tasks.evaluation.write import write_results

#: Resampling fewer items than this gives intervals that are too narrow.
FEW = 10


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation says of itself.

    Attributes:
        status: *done*, or *partial* if items could not be scored.
        out: Its folder.
        items: Items scored.
        failed: Items not scored.
        overall: Pooled scores of all classes, with intervals.
        classes: IoU and Dice per class, pooled.
        notes: Sentences a user should read.
    """

    status: str
    out: Path
    items: int
    failed: int
    overall: dict[str, dict[str, float | None]]
    classes: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """For scripts: 0 done, 4 partial."""
        return {"done": 0, "partial": 4}[self.status]

    def as_json(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            **asdict(self),
            "out": str(self.out),
            "classes": list(self.classes),
            "notes": list(self.notes),
        }


def finish(
    items: Sequence[ItemScore],
    classes: tuple[ClassCard, ...],
    *,
    out: Path,
    title: str,
    of: dict[str, Any],
    scoring: Scoring,
    bootstrap: Bootstrap,
    notes: Sequence[str],
    command: str,
) -> Evaluated:
    """Adds up, draws, and writes everything.

    Args:
        items: Scored and failed ones.
        classes: In the order of tables.
        out: Where the files go.
        title: Of the page.
        of: What was compared (paths, digests), for the record.
        scoring: How.
        bootstrap: How intervals are drawn.
        notes: Sentences a user should read.
        command: How to repeat it.

    Raises:
        InputError: No item could be scored; the first reason is said.
        OutputError: The folder cannot be written.
    """
    bad = [item for item in items if item.status == "failed"]
    if len(bad) == len(items):
        raise InputError(
            f"no item could be scored; {bad[0].id}: {bad[0].reason}" if bad else "there is no item"
        )
    notes = [*notes, *few_items(len(items) - len(bad))]
    result = {
        "segflow": version("segflow"),
        "title": title,
        "status": "partial" if bad else "done",
        "of": of,
        **summarise(items, classes, bootstrap=bootstrap),
        "settings": {
            "level": bootstrap.level,
            "resamples": bootstrap.resamples,
            "seed": bootstrap.seed,
            "tolerance": scoring.tolerance,
            "ignore": list(scoring.ignore),
            "intervals": "percentile bootstrap over items",
            **{key: value for key, value in of.items() if value is not None},
        },
        "notes": list(notes),
        "command": command,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_results(out, result)
    return Evaluated(
        status=result["status"],
        out=out,
        items=len(items) - len(bad),
        failed=len(bad),
        overall=result["pooled"]["overall"],
        classes=tuple(
            {"class": c["class"], "code": c["code"], "iou": c["iou"], "dice": c["dice"]}
            for c in result["pooled"]["classes"]
        ),
        notes=tuple(notes),
    )


def few_items(items: int) -> list[str]:
    """Intervals that look better than they are."""
    if not 2 <= items < FEW:
        return []
    return [f"the intervals come from {items} items only: they are too narrow to be trusted"]
