"""The region table as the report shows it: the largest regions, in columns that fit a page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.reports import words

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST = 200
#: Means beyond these channels are in ``regions.csv`` only.
CHANNELS = 4


@dataclass(frozen=True)
class Cell:
    """What is read, and what it is sorted by (a number, or the text itself)."""

    text: str
    key: str
    colour: str = ""


@dataclass(frozen=True)
class RegionTable:
    """The largest regions.

    Attributes:
        headers: Name of the column, its unit, whether it holds numbers.
        rows: Cells in the order of the headers.
        total: Regions in all.
        left_out: Regions not shown.
        channels_left_out: Channels whose means are not shown.
        size_column: Index of the size, by which rows come sorted.
    """

    headers: list[tuple[str, str, bool]]
    rows: list[list[Cell]]
    total: int
    left_out: int
    channels_left_out: int
    size_column: int


def region_table(table: pa.Table, *, record: dict[str, Any], unit: words.Unit) -> RegionTable:
    """Picks and formats the largest regions.

    Args:
        table: All regions.
        record: What ``run.json`` will hold (colours, channels).
        unit: For sizes.
    """
    import pyarrow.compute as pc

    names = table.column_names
    size = next((c for c in ("area_m2", "volume_mm3") if c in names), "pixels")
    order = [(size, "descending"), ("id", "ascending")]
    rows = table.take(pc.select_k_unstable(table, k=min(LARGEST, len(table)), sort_keys=order)).to_pylist()
    colours = {c["code"]: c["colour"] for c in record["bundle"]["classes"]}
    means = [c for c in (f"mean_{n}" for n in record["input"]["channels"]) if c in names]
    headers = [("Region", "", True), ("Class", "", False), ("Size", unit.label, True)]
    headers += [("Pixels" if record["input"]["field"] == "earth" else "Voxels", "", True)]
    frames, places = "frame" in names, _place(names)
    headers += [("Frame", "", True)] if frames else []
    where = words.length_unit(record["input"]["grid"]) if "world_x" in names else words.Unit("", 1.0)
    headers += [(places, where.label, False)]
    units = {f"mean_{n}": words.unit_of(record, i) for i, n in enumerate(record["input"]["channels"])}
    headers += [
        ("Mean " + words.shorten(m.removeprefix("mean_"), 24), words.shorten(units[m], 24), True)
        for m in means[:CHANNELS]
    ]
    headers += [("Confidence", "", True), ("At border", "", False)]
    out = []
    for r in rows:
        cells = [
            _number(r["id"]),
            Cell(words.shorten(r["class"], 60), r["class"][:60], colours.get(r["code"], "#888888")),
            Cell(words.number(float(r[size]) * unit.factor), repr(float(r[size]))),
            _number(r["pixels"]),
        ]
        cells += [_number(r["frame"])] if frames else []
        cells += [_position(r, where)]
        cells += [Cell(words.number(r[m]), _key(r[m])) for m in means[:CHANNELS]]
        confidence = r.get("mean_confidence")
        cells += [Cell("–" if _key(confidence) == "" else f"{confidence:.3f}", _key(confidence))]
        cells += [Cell("yes" if r["touches_border"] else "", str(int(r["touches_border"])))]
        out.append(cells)
    return RegionTable(headers, out, len(table), len(table) - len(rows), max(0, len(means) - CHANNELS), 2)


def _place(names: list[str]) -> str:
    return "Centre" if {"lon", "world_x"} & set(names) else "Centre (row, column)"


def _position(row: dict[str, Any], unit: words.Unit) -> Cell:
    if "lon" in row:
        return Cell(words.degrees(row["lon"], row["lat"]), _key(row["lat"]))
    if "world_x" in row:
        values = [row[k] for k in ("world_x", "world_y", "world_z")]
        return Cell(", ".join(f"{v * unit.factor:.1f}".replace("-", "−") for v in values), _key(values[0]))
    return Cell(f"{row['centroid_y']:,.1f}, {row['centroid_x']:,.1f}", _key(row["centroid_y"]))


def _number(value: int) -> Cell:
    return Cell(f"{value:,}", str(value))


def _key(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else repr(float(value))
