"""How the report says things: numbers, units, durations and what a status means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.codes import needs_wide, special_codes

STATUS_MEANING = {
    "done": "Every tile was predicted; the checks of values, spacing and seams found nothing.",
    "partial": "Some tiles failed. Their pixels are marked as failed and belong to no class; "
    "all others are final.",
    "suspect": "Every tile was predicted, but the input is unlike what the model was made for, or "
    "neighbouring tiles contradict each other. Read the warnings before using the numbers.",
}


@dataclass(frozen=True)
class Unit:
    """A unit for showing sizes.

    Attributes:
        label: What is printed, for example ``km²``.
        factor: Multiplies a size of ``summary.json`` (m², mm³ or pixels).
    """

    label: str
    factor: float


def input_name(record: dict[str, Any]) -> str:
    """The input's file name; of several files the first one's, and how many more there are."""
    first, *more = record["input"]["path"].split(" + ")
    name = Path(first).name
    return f"{name} and {len(more)} more" if more else name


def reserved_codes(record: dict[str, Any]) -> dict[str, int]:
    """Codes of nodata, failed and unobserved pixels in the mask that ``record`` describes."""
    highest = max(int(c["code"]) for c in record["bundle"]["classes"])
    return special_codes(wide=needs_wide(highest))


def size_unit(summary: dict[str, Any]) -> Unit:
    """The unit in which this run's sizes read best.

    It is chosen once, by the largest class, so that every size in a report is comparable.
    """
    base = summary["units"]["size"]
    largest = max((float(c["size"]) for c in summary["classes"]), default=0.0)
    if base == "m2":
        return Unit("km²", 1e-6) if largest >= 1e6 else Unit("m²", 1.0)
    if base == "mm3":
        if 0 < largest < 1e-2:
            return Unit("µm³", 1e9)
        return Unit("mL", 1e-3) if largest >= 100 else Unit("mm³", 1.0)
    return Unit("pixels", 1.0)


def length_unit(grid: dict[str, Any]) -> Unit:
    """The unit of places in a volume, given in mm, and their axes: only of a patient has a side a name.

    Args:
        grid: Of a volume, as in ``run.json``.
    """
    if grid.get("patient", True):
        return Unit("mm, R A S", 1.0)
    # The largest voxel decides, as in the line that describes an image.
    return Unit("µm, x y z", 1e3) if max(grid["spacing"][-3:]) < 0.05 else Unit("mm, x y z", 1.0)


def number(value: float | int | None, digits: int = 4, *, trim: bool = False) -> str:
    """A number for people: thousands separated, ``digits`` significant figures, no exponent where avoidable.

    Args:
        value: None and non-finite values become a dash.
        digits: Significant figures of a fraction; whole digits are never dropped.
        trim: Whether a float that is an integer is printed as one.
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, int) or value == 0 or (trim and float(value).is_integer()):
        return f"{value:,.0f}".replace("-", "−")
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude < -6:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    decimals = max(0, min(digits - 1 - magnitude, 9))
    return f"{value:,.{decimals}f}".replace("-", "−")


def percent(share: float | None) -> str:
    """A share (0…1) in per cent; tiny but present shares never read as zero."""
    if share is None or not math.isfinite(share):
        return "–"
    if 0 < share < 0.0001:
        return "< 0.01 %"
    return f"{100 * share:.2f} %"


def unit_of(record: dict[str, Any], channel: int) -> str:
    """The unit of a channel's values as the model's card has it; empty where it has none."""
    units = record["input"].get("units") or []
    unit = units[channel] if channel < len(units) else None
    return "" if unit in (None, "1") else str(unit)


def frames_of(summary: dict[str, Any]) -> int:
    """Frames over which the sizes of ``summary`` are summed; 1 where there is no series."""
    return int(summary.get("frames", 1))


def data_size(count: int | float) -> str:
    """Bytes in binary units."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            return f"{value:,.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 0.1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def degrees(lon: float | None, lat: float | None) -> str:
    """A position on the Earth, latitude first."""
    if lon is None or lat is None or not (math.isfinite(lon) and math.isfinite(lat)):
        return "–"
    return f"{abs(lat):.3f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.3f}° {'E' if lon >= 0 else 'W'}"


def shorten(text: str, limit: int = 400) -> str:
    """Long texts (a hostile name may have megabytes) cut in the middle."""
    if len(text) <= limit:
        return text
    half = (limit - 3) // 2
    return f"{text[:half]} … {text[-half:]}"


def number_of(count: int, noun: str) -> str:
    """``1 tile``, ``1,200 tiles``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
