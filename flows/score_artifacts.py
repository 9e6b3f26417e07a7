"""Rollups of trainings and evaluations for the orchestration UI: progress, a table of scores, pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from flows.artifacts import optional, picture
from tasks.training.outcome import Progress

#: Per class: pooled scores in the table.
COLUMNS = ("iou", "dice", "precision", "recall")


class TrainingArtifact:
    """The share of a training that is done, at most once per percent.

    Args:
        description: What is trained.
        display: Told everything too.
    """

    def __init__(self, description: str, display: Progress) -> None:
        self._description, self._display = description, display
        self._artifact: UUID | None = None
        self._shown = -1

    def stage(self, sentence: str) -> None:
        self._display.stage(sentence)

    def step(self, done: float, step: int, loss: float) -> None:
        self._display.step(done, step, loss)
        percent = int(100 * done)
        if percent == self._shown:
            return
        with optional("progress"):
            if self._artifact is not None:
                update_progress_artifact(artifact_id=self._artifact, progress=float(percent))
            elif self._shown < 0:
                created = create_progress_artifact(progress=float(percent), description=self._description)
                self._artifact = created if isinstance(created, UUID) else None
        self._shown = percent


def show_scores(file: Path, *, pictures: dict[str, Path], report: Path) -> None:
    """Makes a table of scores per class with their intervals, and a page with pictures.

    They are for looking at only: if the server does not take one, that is logged.

    Args:
        file: ``scores.json`` of an evaluation, or ``held_out.json`` of a training.
        pictures: Title → PNG.
        report: What to open for more.
    """
    with optional("scores"):
        result = json.loads(file.read_bytes())
        rows = [
            {
                "class": row["class"],
                "code": row["code"],
                "true pixels": row["true_pixels"],
                **{name: _said(row[name]) for name in COLUMNS},
            }
            for row in result["pooled"]["classes"]
        ]
        create_table_artifact(table=rows, description=result["title"])
        overall = result["pooled"]["overall"]
        lines = [
            f"# {result['title']}",
            f"Pooled over {result['items']['scored']} items: mean IoU **{_said(overall['mean_iou'])}**, "
            f"mean Dice **{_said(overall['mean_dice'])}**, pixel accuracy {_said(overall['pixel_accuracy'])}.",
            *(f"- {f['item']}: {f['reason']}" for f in result["items"]["failed"][:20]),
            *(f"- {note}" for note in result["notes"][:20]),
            *(f"![{title}](data:image/png;base64,{picture(path)})" for title, path in pictures.items()),
            f"Report: `{report}`",
        ]
        create_markdown_artifact(markdown="\n\n".join(lines), description=result["title"])


def _said(score: dict[str, Any]) -> str:
    if score["value"] is None:
        return "–"
    ends = "" if score["low"] is None else f" ({score['low']:.3f}–{score['high']:.3f})"
    return f"{score['value']:.3f}{ends}"
