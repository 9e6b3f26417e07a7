"""The table: Markdown for people, JSON for comparing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.harness import Figure


def number(value: float, unit: str = "") -> str:
    """Three digits that mean something, with the unit."""
    text = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"
    return f"{text} {unit}".rstrip()


def markdown(figures: Mapping[str, Sequence[Figure]], *, machine: Mapping[str, Any], scale: float) -> str:
    """The whole table, with what it was measured on above and what was compared below."""
    lines = [
        "; ".join(f"{k}: {v}" for k, v in machine.items()),
        "",
        "| row | measure | median | rounds | goal | reached |",
        "|---|---|---|---|---|---|",
    ]
    for row, several in figures.items():
        lines += [_line(row, figure) for figure in several]
    if scale != 1:
        lines += ["", f"At scale {scale:g}: not the sizes that the goals name."]
    lines += [
        "",
        *(f"- {row}: {_details(f)}" for row, several in figures.items() for f in several if f.details),
    ]
    return "\n".join(lines) + "\n"


def _line(row: str, figure: Figure) -> str:
    middle = figure.median
    cells = [row, figure.measure]
    if middle is None:
        cells += [f"{'failed' if figure.failed else 'not measured'}: {_one_line(figure.why_not)}", ""]
    else:
        cells += [number(middle, figure.unit), ", ".join(number(v) for v in figure.values)]
    goal = figure.goal
    cells += [f"{goal.side} {number(goal.bound, figure.unit)}" if goal else ""]
    cells += [{True: "yes", False: "**no**", None: ""}[figure.met]]
    return f"| {' | '.join(c.replace('|', '/') for c in cells)} |"


def _details(figure: Figure) -> str:
    return "; ".join(f"{key} {_shown(value)}" for key, value in figure.details.items())


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list | tuple):
        return ", ".join(_shown(v) for v in value)
    return str(value)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


def save(
    folder: Path,
    figures: Mapping[str, Sequence[Figure]],
    *,
    machine: Mapping[str, Any],
    settings: Mapping[str, Any],
    started: datetime,
) -> Path:
    """Writes ``TIME.json`` and ``TIME.md``.

    Returns:
        The JSON file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{started:%Y%m%dT%H%M%SZ}.json"
    rows = {
        name: [{**asdict(f), "median": f.median, "met": f.met} for f in several]
        for name, several in figures.items()
    }
    content = {
        "started": started.isoformat(timespec="seconds"),
        "machine": dict(machine),
        "settings": dict(settings),
        "rows": rows,
    }
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text = markdown(figures, machine=machine, scale=settings["scale"])
    file.with_suffix(".md").write_text(text, encoding="utf-8")
    return file
