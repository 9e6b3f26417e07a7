"""``report.html``: one self-contained page about an evaluation."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from tasks.evaluation.classes import OUTSIDE
from tasks.reports import words

if TYPE_CHECKING:
    from jinja2 import Template

#: Rows of lists whose length the input decides.
MANY = 200
OVERALL = {
    "mean_iou": "Mean IoU",
    "mean_dice": "Mean Dice",
    "pixel_accuracy": "Pixel accuracy",
    "fw_iou": "Frequency-weighted IoU",
    "mean_accuracy": "Mean accuracy",
}
PER_CLASS = {
    "iou": "IoU",
    "dice": "Dice",
    "precision": "Precision",
    "recall": "Recall",
    "specificity": "Specificity",
}
SURFACE = {"hd95": "HD95", "assd": "ASSD", "surface_dice": "Surface Dice"}
MEANING = {
    "done": "Every item was scored.",
    "partial": "Some items could not be scored; the figures are of the others.",
}


def render(result: dict[str, Any], picture: bytes) -> str:
    """The page as text; it loads nothing and runs nothing.

    Args:
        result: What ``scores.json`` holds.
        picture: ``confusion.png``.
    """
    from markupsafe import Markup

    pooled, means = result["pooled"], result["mean_over_items"]
    colours = {c["code"]: c["colour"] for c in result["classes"]}
    outside = [name for name in OUTSIDE if result["pixels"][name]]
    surface = any(row[name]["items"] for row in means["classes"] for name in SURFACE)
    failures = result["items"]["failed"]
    return _template().render(
        result=result,
        title=words.shorten(result["title"], 200),
        meaning=MEANING[result["status"]],
        highlights=[
            {
                "label": label,
                "value": digits(pooled["overall"][name]["value"]),
                "note": span(pooled["overall"][name]),
            }
            for name, label in list(OVERALL.items())[:4]
        ],
        outside=outside,
        overall=[
            (label, cell(pooled["overall"][name]), cell(means["overall"][name]))
            for name, label in OVERALL.items()
        ],
        class_headers=list(PER_CLASS.values()),
        classes=[
            {
                "name": words.shorten(row["class"], 80),
                "colour": colours[row["code"]],
                "pixels": f"{row['true_pixels']:,}",
                "scores": [cell(row[name]) for name in PER_CLASS],
                "outside": [words.percent(_share(row[name], row["true_pixels"])) for name in outside],
            }
            for row in pooled["classes"][:MANY]
        ],
        means=[
            {
                "name": words.shorten(row["class"], 80),
                "colour": colours[row["code"]],
                "items": row["dice"]["items"],
                "scores": [cell(row[name]) for name in ("iou", "dice", *(SURFACE if surface else ()))],
            }
            for row in means["classes"][:MANY]
        ],
        mean_headers=["IoU", "Dice", *(_with_unit(result) if surface else ())],
        surface=surface,
        picture=f"data:image/png;base64,{base64.b64encode(picture).decode()}",
        items=_items(result),
        items_left_out=max(0, len(result["per_item"]) - MANY),
        failures=[(words.shorten(f["item"], 200), words.shorten(f["reason"], 600)) for f in failures[:MANY]],
        failures_left_out=max(0, len(failures) - MANY),
        notes=[words.shorten(n, 600) for n in _notes(result)[:MANY]],
        facts=[(name, words.shorten(str(value), 400)) for name, value in result["settings"].items()],
        command=words.shorten(result["command"], 4000),
        style=Markup(resources.files("tasks.reports").joinpath("report.css").read_text(encoding="utf-8")),
    )


def digits(value: float | None, unit: str = "") -> str:
    """Shares with three decimals, a dash for what is not defined."""
    return "–" if value is None else f"{value:.3f}{unit}".replace("-", "−")


def span(score: dict[str, Any]) -> str:
    """The interval in words."""
    if score["low"] is None:
        return "no interval: fewer than two items"
    return f"{digits(score['low'])} to {digits(score['high'])}"


def cell(score: dict[str, Any]) -> dict[str, str]:
    """A score with its interval beneath."""
    known = score["low"] is not None
    return {
        "value": digits(score["value"]),
        "ends": f"{digits(score['low'])}–{digits(score['high'])}" if known else "",
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _with_unit(result: dict[str, Any]) -> list[str]:
    unit = " or ".join(result["units"])
    return [f"{label} {unit}" if name != "surface_dice" else label for name, label in SURFACE.items()]


def _notes(result: dict[str, Any]) -> list[str]:
    of_items = [f"{item['item']}: {note}" for item in result["per_item"] for note in item["notes"]]
    skipped = {
        f"{item['item']}, {row['class']}: surface distances {row['surface_status']}"
        for item in result["per_item"]
        for row in item["classes"]
        if row["surface_status"].startswith("not computed")
    }
    return [*result["notes"], *of_items, *sorted(skipped)]


def _items(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Items, worst first."""

    def of(item: dict[str, Any]) -> float:
        value = item["overall"]["mean_iou"]
        return -1.0 if value is None else float(value)

    rows: Sequence[dict[str, Any]] = sorted(result["per_item"], key=of)[:MANY]
    return [
        {
            "name": words.shorten(item["item"], 120),
            "scores": [digits(item["overall"][name]) for name in OVERALL],
            "bar": f"{100 * max(0.0, of(item)):.1f}",
        }
        for item in rows
    ]


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(
        resources.files("tasks.evaluation").joinpath("page.html").read_text(encoding="utf-8")
    )
