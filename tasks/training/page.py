"""``report.html`` of a training: one self-contained page, in the looks of an evaluation's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.datasets.dataset import Dataset
from tasks.datasets.splits import Part
from tasks.evaluation.page import MANY, data, environment, highlights, pooled_tables, stylesheet
from tasks.evaluation.picture import confusion_picture
from tasks.files import atomic_write
from tasks.planning.statistics import ChannelSummary
from tasks.reports import words
from tasks.training.config import Config, write_yaml
from tasks.training.examples import Shown
from tasks.training.items import Seen, Split

if TYPE_CHECKING:
    from segmodels.training.trainer import Trained


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a training has to tell.

    Attributes:
        config: Of the training.
        dataset: With its classes and channels.
        split: Items by use.
        seen: What every item holds.
        trained: Steps, minutes, how it ended.
        result: What ``held_out.json`` holds.
        network: Facts of the network: name and value.
        examples: Held-out items: name, mean IoU, pictures.
        command: That made it.
    """

    config: Config
    dataset: Dataset
    split: Split
    seen: Mapping[str, Seen]
    trained: Trained
    result: dict[str, Any]
    network: Sequence[tuple[str, Any]]
    examples: Sequence[tuple[str, float, Shown]]
    command: str


def write_page(folder: Path, told: Told) -> None:
    """Writes ``confusion.png`` and ``report.html`` beside ``curves.png``.

    Raises:
        tasks.errors.OutputError: The folder cannot be written.
    """
    confusion = confusion_picture(told.result)
    page = render(told, curves=(folder / "curves.png").read_bytes(), confusion=confusion)
    for name, content in (("confusion.png", confusion), ("report.html", page.encode())):
        with atomic_write(folder / name) as stream:
            stream.write(content)


def render(told: Told, *, curves: bytes, confusion: bytes) -> str:
    """The page as text; it loads nothing and runs nothing.

    Args:
        told: What it says.
        curves: ``curves.png``.
        confusion: ``confusion.png``.
    """
    result, config = told.result, told.config
    return environment("tasks.training").get_template("page.html").render(
        name=config.name,
        meaning=_meaning(told),
        description=words.shorten(config.description, 600),
        highlights=highlights(result),
        notes=[words.shorten(n, 600) for n in result["notes"]],
        curves=data("image/png", curves),
        tables=pooled_tables(result),
        confusion=data("image/png", confusion),
        examples=[
            {
                "name": words.shorten(name, 120),
                "score": words.number(score, 3),
                "pictures": [
                    (title, data("image/jpeg", picture))
                    for title, picture in zip(("Image", "Truth", "Prediction"), seen.pictures, strict=True)
                ],
                "width": seen.width,
                "height": seen.height,
            }
            for name, score, seen in told.examples
        ],
        uses=[
            {"name": name, "said": words.number_of(len({p.item.id for p in parts}), "item")}
            for name, parts in _uses(told.split)
        ],
        shares=_shares(told),
        channels=_channels(told)[:MANY],
        groups=_groups(told),
        config=write_yaml(config),
        command=words.shorten(told.command, 4000),
        style=stylesheet(),
        segflow=result["segflow"],
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip


def _meaning(told: Told) -> str:
    trained, scored = told.trained, told.result["items"]["scored"]
    early = ", stopped early as the score no longer rose" if trained.stopped_early else ""
    return (
        f"{trained.steps:,} steps in {words.duration(60 * trained.minutes)}{early}; "
        f"scored on {words.number_of(scored, told.result['split'] + ' item')}."
    )


def _uses(split: Split) -> list[tuple[str, tuple[Part, ...]]]:
    """Uses of items; one for all where they are parts of one item, whose classes are counted as a whole."""
    if any(part.box is not None for part in split.train):
        return [("All parts", split.train + split.val + split.test)]
    every = [("Training", split.train), ("Validation", split.val), ("Test", split.test)]
    return [(name, parts) for name, parts in every if parts]


def _shares(told: Told) -> list[dict[str, Any]]:
    columns = []
    for _, parts in _uses(told.split):
        counts = sum(told.seen[name].labels for name in sorted({p.item.id for p in parts}))
        columns.append(np.asarray(counts) / max(1, int(np.sum(counts))))
    return [
        {
            "name": words.shorten(c.name, 80),
            "colour": c.colour,
            "shares": [words.percent(float(share[i])) for share in columns],
        }
        for i, c in enumerate(told.dataset.classes[:MANY])
    ]


def _channels(told: Told) -> list[list[str]]:
    trained = [told.seen[name] for name in sorted({part.item.id for part in told.split.train})]
    found = []
    for c in range(len(trained[0].channels)):
        some = [seen.channels[c] for seen in trained if seen.channels[c].valid]
        name = told.dataset.channels[c].name if c < len(told.dataset.channels) else f"channel {c + 1}"
        found.append([words.shorten(name, 80), f"{sum(s.valid for s in some):,}", *_figures(some)])
    return found


def _figures(items: Sequence[ChannelSummary]) -> list[str]:
    """Of all values together; of percentiles the median over items, as items are normalised one by one."""
    if not items:
        return ["–"] * 6
    count, mean, std = (np.array([getattr(s, k) for s in items]) for k in ("valid", "mean", "std"))
    whole = float(np.average(mean, weights=count))
    spread = float(np.sqrt(np.average(std**2 + (mean - whole) ** 2, weights=count)))
    low, high = (float(np.median([getattr(s, k) for s in items])) for k in ("p2", "p98"))
    lowest, highest = min(s.minimum for s in items), max(s.maximum for s in items)
    return [words.number(v, trim=True) for v in (lowest, low, whole, high, highest, spread)]


def _groups(told: Told) -> list[tuple[str, list[tuple[str, str]]]]:
    config, trained, details = told.config, told.trained, told.dataset.details
    shapes = [told.seen[item.id].shape for item in told.split.items]
    sizes = sorted({" × ".join(f"{n:,}" for n in shape) for shape in (min(shapes), max(shapes))})
    kept = "best validation" if config.keep == "best" else "last step"
    groups: list[tuple[str, list[tuple[str, Any]]]] = [
        (
            "Training",
            [
                ("Steps", f"{trained.steps:,} of {words.number_of(config.batch, 'tile')}"),
                ("Time", words.duration(60 * trained.minutes)),
                ("Kept weights", kept + (f", averaged with decay {config.average:g}" if config.average else "")),
                ("Validation score", _validation(told)),
                ("Gone on from", f"step {trained.resumed_at:,}" if trained.resumed_at is not None else ""),
                ("Loss", " + ".join(f"{t.weight:g} × {t.kind}" for t in config.loss)),
                ("Seed", config.seed),
            ],
        ),
        ("Network", list(told.network)),
        (
            "Data set",
            [
                ("Folder", told.dataset.root),
                ("Layout", told.dataset.layout),
                ("Name", details.get("name", "")),
                ("Licence", details.get("licence", "")),
                ("Reference", details.get("reference", "")),
                ("Sizes", " to ".join(sizes)),
            ],
        ),
    ]  # fmt: skip
    return [
        (title, [(k, words.shorten(str(v), 400)) for k, v in rows if v not in ("", None)])
        for title, rows in groups
    ]


def _validation(told: Told) -> str:
    score = told.trained.scores.get("score")
    return "" if score is None else f"{told.config.score.replace('_', ' ')} {score:.4f}"
