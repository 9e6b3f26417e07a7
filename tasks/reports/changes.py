"""What post-processing changed, per class, in words."""

from __future__ import annotations

from typing import Any

from tasks.reports import words

_UNITS = {"pixels": "pixels", "m2": "m²", "mm3": "mm³"}


def change_rows(record: dict[str, Any], *, most: int) -> list[dict[str, Any]]:
    """A row per step of the card, in the order of their doing; none where the card asks for none.

    Args:
        record: What ``run.json`` will hold.
        most: Rows at most.
    """
    steps = (record.get("postprocess") or {}).get("steps", [])
    colours = {c["name"]: c["colour"] for c in record["bundle"]["classes"]}
    voxels = record["input"]["field"] == "medical"
    return [
        {
            "class": words.shorten(step["class_name"], 80),
            "colour": colours[step["class_name"]],
            "rule": rule(step, voxels=voxels),
            "done": _done(step),
            "pixels": f"{step['pixels']:,}",
        }
        for step in steps[:most]
    ]


def rule(step: dict[str, Any], *, voxels: bool = False) -> str:
    """A step as a sentence without its class."""
    if step["kind"] == "largest":
        many = step["keep"] > 1
        return f"keep the {step['keep']:,} largest regions" if many else "keep the largest region"
    if step["size"] is None:
        return "fill all holes"
    unit = "voxels" if voxels and step["unit"] == "pixels" else _UNITS[step["unit"]]
    size = f"{step['size']:,.10g} {unit}"
    if step["kind"] == "minimum_size":
        return f"remove regions smaller than {size}"
    return f"fill holes of at most {size}"


def _done(step: dict[str, Any]) -> str:
    if step["kind"] == "fill_holes":
        return f"{words.number_of(step['components'], 'hole')} filled"
    return f"{words.number_of(step['components'], 'region')} removed"
