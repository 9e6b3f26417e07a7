"""What an evaluation leaves: ``scores.json``, ``scores.csv``, ``confusion.png``, ``report.html``."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from tasks.evaluation.page import render
from tasks.evaluation.picture import confusion_picture
from tasks.files import atomic_write, writing

SCORES = "scores.json"


def write_results(folder: Path, result: dict[str, Any]) -> None:
    """Writes all four files, ``scores.json`` last: an evaluation without it is not finished.

    Raises:
        tasks.errors.OutputError: The folder cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SCORES).unlink(missing_ok=True)
    picture = confusion_picture(result)
    content = {
        "scores.csv": table(result).encode(),
        "confusion.png": picture,
        "report.html": render(result, picture).encode(),
        SCORES: (json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(),
    }
    for name, data in content.items():
        with atomic_write(folder / name) as stream:
            stream.write(data)


def table(result: dict[str, Any]) -> str:
    """Rows per item and class; what is not defined is an empty cell."""
    rows = [
        {"item": item["item"], **row, "unit": item["unit"] if row["surface_status"] == "ok" else ""}
        for item in result["per_item"]
        for row in item["classes"]
    ]
    stream = io.StringIO()
    if rows:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return stream.getvalue()
