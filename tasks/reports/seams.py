"""The seam audit in words: what neighbouring tiles said of the pixels they share."""

from __future__ import annotations

from typing import Any

from tasks.reports import words

_EARTH = {"y": "rows (y)", "x": "columns (x)"}
_MEDICAL = {"z": "feet to head (z)", "y": "back to front (y)", "x": "left to right (x)"}


def seam_section(record: dict[str, Any]) -> dict[str, Any]:
    """A sentence, a table with a row per axis and their sum, and the limits.

    Args:
        record: What ``run.json`` will hold.
    """
    seams = record["seams"]
    cell = "voxel" if record["input"]["field"] == "medical" else "pixel"
    names = _MEDICAL if record["input"]["field"] == "medical" else _EARTH
    rows = [_row(names.get(a["axis"], a["axis"]), a, a["worst"]) for a in seams["axes"] if a["pairs"]]
    worst = [a["worst"] for a in seams["axes"] if a["worst"]]
    if len(rows) > 1:
        # By share, as the column: pairs along different axes share different numbers of pixels.
        rows.append(_row("all", seams, max(worst, key=lambda w: (w["other_class"] or 0.0, w["pixels"]))))
    limits = seams["limits"]
    return {
        "sentence": _sentence(seams, cell),
        "rows": rows,
        "limits": f"A run is suspect above {words.percent(limits['other_class'])} with another class, or above "
        f"a mean difference of {limits['difference']:g}. The difference is half the sum of |p − p′| over the "
        f"classes. {cell.capitalize()}s are a fixed sample, counted once for each pair of tiles. An axis's worst "
        f"pair is the one with most {cell}s of another class; over all axes it is the one of these with the largest "
        f"share.",
    }


def _sentence(seams: dict[str, Any], cell: str) -> str:
    if not seams["pixels"]:
        return f"No two tiles predicted a {cell} in common, so no seam could be compared."
    if not seams["other_class"] and not seams["difference"]:
        return f"Neighbouring tiles agree: they say the same of every {cell} they share."
    return (
        f"{words.percent(seams['other_class'])} of the {cell}s where two tiles overlap got another class from one "
        f"tile than from the other. The probabilities of the two differ by "
        f"{words.number(seams['difference'], 2)} on average, where 0 is agreement and 1 the opposite."
    )


def _row(name: str, found: dict[str, Any], worst: dict[str, Any]) -> dict[str, str]:
    return {
        "name": name,
        "pairs": f"{found['pairs']:,}",
        "pixels": f"{found['pixels']:,}",
        "other": words.percent(found["other_class"]),
        "difference": words.number(float(found["difference"]), 2),
        "worst": words.percent(worst["other_class"]),
    }
