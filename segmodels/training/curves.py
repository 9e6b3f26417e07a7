"""Learning curves: a table, a picture and TensorBoard scalars, kept up to date while a training runs."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

COLOURS = ("#1b6ca8", "#c8553d", "#588157", "#8e5572", "#bc8a2f", "#4a4e69", "#2a9d8f", "#e07a9f")


class Curves:
    """Rows of numbers by step.

    Args:
        folder: Takes ``curves.csv``, ``curves.png`` and ``logs/``.

    Attributes:
        rows: So far; the columns may grow.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.rows: list[dict[str, float]] = []
        self._events: Any = None

    def add(self, row: Mapping[str, float]) -> None:
        """Takes a row with ``step`` and writes all files anew."""
        self.rows.append(dict(row))
        self._write_table()
        self._write_events(row)
        draw(self.rows, self._folder / "curves.png")

    def close(self) -> None:
        """Ends the TensorBoard file."""
        if self._events is not None:
            self._events.close()

    def _write_table(self) -> None:
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        part = self._folder / ".curves.csv.part"
        with part.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, columns, restval="")
            writer.writeheader()
            writer.writerows(self.rows)
        part.replace(self._folder / "curves.csv")

    def _write_events(self, row: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if self._events is None:
            self._events = EventFileWriter(str(self._folder / "logs"))
        values = [
            Summary.Value(tag=name, simple_value=value) for name, value in row.items() if name != "step"
        ]
        event = Event(step=int(row["step"]), summary=Summary(value=values))
        event.wall_time = time.time()
        self._events.add_event(event)
        self._events.flush()


def draw(rows: list[dict[str, float]], path: Path) -> None:
    """Loss and learning rate on the left, scores on the right, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [row["step"] for row in rows]
    left.plot(steps, [row["loss"] for row in rows], color=COLOURS[0], marker="." if len(rows) < 20 else "")
    left.set(xlabel="step", ylabel="loss")
    rate = left.twinx()
    rate.plot(steps, [row["learning_rate"] for row in rows], color="0.7", linestyle=":")
    rate.set_ylabel("learning rate", color="0.5")
    rate.tick_params(axis="y", colors="0.5")
    scored = [row for row in rows if "score" in row]
    names = [n for n in dict.fromkeys(n for row in scored for n in row) if n not in _NO_SCORES]
    for i, name in enumerate(names):
        right.plot(
            [row["step"] for row in scored],
            [row.get(name, float("nan")) for row in scored],
            color=COLOURS[i % len(COLOURS)],
            linewidth=2.2 if name == "score" else 1.1,
            marker="." if len(rows) < 20 else "",
            label=name.replace("_", " "),
        )
    right.set(xlabel="step", ylabel="score on the validation split")
    if names:
        right.legend(frameon=False, fontsize=8)
    else:
        right.text(0.5, 0.5, "not validated", ha="center", va="center", transform=right.transAxes)
    for axes in (left, right):
        axes.grid(alpha=0.2)
        axes.spines["top"].set_visible(False)
    part = path.with_name(f".{path.name}.part")
    figure.savefig(part, format="png", dpi=110)
    part.replace(path)


_NO_SCORES = {"step", "loss", "learning_rate", "minutes"}
