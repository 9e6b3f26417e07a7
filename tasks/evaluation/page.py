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
    from jinja2 import Environment
    from markupsafe import Markup

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
    means = result["mean_over_items"]
    colours = {c["code"]: c["colour"] for c in result["classes"]}
    surface = any(row[name]["items"] for row in means["classes"] for name in SURFACE)
    failures = result["items"]["failed"]
    return (
        environment("tasks.evaluation")
        .get_template("page.html")
        .render(
            result=result,
            title=words.shorten(result["title"], 200),
            meaning=MEANING[result["status"]],
            highlights=highlights(result),
            tables=pooled_tables(result),
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
            picture=data("image/png", picture),
            items=_items(result),
            items_left_out=max(0, len(result["per_item"]) - MANY),
            failures=[
                (words.shorten(f["item"], 200), words.shorten(f["reason"], 600)) for f in failures[:MANY]
            ],
            failures_left_out=max(0, len(failures) - MANY),
            notes=[words.shorten(n, 600) for n in _notes(result)[:MANY]],
            facts=[(name, words.shorten(str(value), 400)) for name, value in result["settings"].items()],
            command=words.shorten(result["command"], 4000),
            style=stylesheet(),
        )
    )


def highlights(result: dict[str, Any]) -> list[dict[str, str]]:
    """The first figures of all: over all classes, pixels pooled."""
    overall = result["pooled"]["overall"]
    return [
        {"label": label, "value": digits(overall[name]["value"]), "note": span(overall[name])}
        for name, label in list(OVERALL.items())[:4]
    ]


def pooled_tables(result: dict[str, Any]) -> dict[str, Any]:
    """What ``sections.html`` shows of the pooled scores.

    Args:
        result: As :func:`tasks.evaluation.results.summarise` gives it, with ``settings``.
    """
    pooled, means = result["pooled"], result["mean_over_items"]
    colours = {c["code"]: c["colour"] for c in result["classes"]}
    outside = [name for name in OUTSIDE if result["pixels"][name]]
    return {
        "level": result["settings"]["level"],
        "outside": outside,
        "overall": [
            (label, cell(pooled["overall"][name]), cell(means["overall"][name]))
            for name, label in OVERALL.items()
        ],
        "class_headers": list(PER_CLASS.values()),
        "classes": [
            {
                "name": words.shorten(row["class"], 80),
                "colour": colours[row["code"]],
                "pixels": f"{row['true_pixels']:,}",
                "scores": [cell(row[name]) for name in PER_CLASS],
                "outside": [words.percent(_share(row[name], row["true_pixels"])) for name in outside],
            }
            for row in pooled["classes"][:MANY]
        ],
    }


def data(kind: str, content: bytes) -> str:
    """A file as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def stylesheet() -> Markup:
    """The style of all pages."""
    from markupsafe import Markup

    return Markup(resources.files("tasks.reports").joinpath("report.css").read_text(encoding="utf-8"))


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
def environment(package: str) -> Environment:
    """Templates of a package, which may import ``sections.html``."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    def read(name: str) -> str:
        holder = "tasks.evaluation" if name == "sections.html" else package
        return resources.files(holder).joinpath(name).read_text(encoding="utf-8")

    return Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(read),
    )
