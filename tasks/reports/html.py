"""``report.html``: one self-contained page about one run, and the ``overview.png`` beside it."""

from __future__ import annotations

import base64
import hashlib
import math
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.imagery.protocol import Image
from tasks.imagery.writers import mask_name
from tasks.reports import paint, words
from tasks.reports.changes import change_rows
from tasks.reports.panels import Panel, panels
from tasks.reports.pictures import CONVENTION, compose, save, swatch
from tasks.reports.provenance import provenance
from tasks.reports.region_rows import region_table
from tasks.reports.seams import seam_section

if TYPE_CHECKING:
    import pyarrow as pa
    from jinja2 import Template
    from markupsafe import Markup

PICTURE_WIDTH = 1400
#: Bytes of each input picture, before base64.
PICTURE_LIMIT = 1_200_000
#: Rows of lists whose length the input decides.
MANY = 100


def write_report(
    directory: Path, *, record: dict[str, Any], summary: dict[str, Any], regions: pa.Table, image: Image
) -> None:
    """Writes ``overview.png`` and ``report.html``.

    The page loads nothing from anywhere, runs no script but its own (a content policy names it
    by digest) and stays below 5 MB whatever the image's size and the number of regions.

    Args:
        directory: Where the result lies; holds ``mask.tif`` or ``mask.nii.gz``.
        record: What ``run.json`` will hold.
        summary: ``summary.json``.
        regions: The region table.
        image: The open input.

    Raises:
        tasks.errors.InputError: The image or the mask can no longer be read.
    """
    mask = directory / mask_name(image.info)
    views = panels(image, mask, record, size=PICTURE_WIDTH)
    sheet = compose(views, record, summary=summary)
    # Encoding pictures is most of the work, in code that lets other threads run.
    with ThreadPoolExecutor(1, thread_name_prefix="overview") as pool:
        saved = pool.submit(save, sheet, directory / "overview.png")
        page = render(views, record=record, summary=summary, regions=regions)
        saved.result()
    (directory / "report.html").write_text(page, encoding="utf-8")


def render(views: list[Panel], *, record: dict[str, Any], summary: dict[str, Any], regions: pa.Table) -> str:
    """The page as text."""
    unit = words.size_unit(summary)
    script = _asset("report.js")
    preview = (record.get("preview") or {}).get("sentence", "")
    plain = [*dict.fromkeys([*record["input"]["notes"], *record.get("notes", [])])]
    warnings = [w for w in record["warnings"] if w != preview and w not in plain]
    notes = [n for n in plain if n != preview]
    return _template().render(
        record=record,
        item=words.shorten(record["item"], 200),
        status=record["status"],
        meaning=words.STATUS_MEANING[record["status"]],
        highlights=_highlights(record, summary, unit),
        pictures=[_picture(v, record) for v in views],
        convention=CONVENTION if any(v.sides for v in views) else "",
        legend=_legend(views, record, summary),
        unit=unit.label,
        frames=words.frames_of(summary),
        cell="Voxel" if record["input"]["field"] == "medical" else "Pixel",
        classes=_class_rows(summary, unit),
        classes_left_out=max(0, len(summary["classes"]) - MANY),
        ledger=_ledger(summary, unit),
        regions=region_table(regions, record=record, unit=unit),
        changes=change_rows(record, most=MANY),
        changes_left_out=max(0, len((record.get("postprocess") or {}).get("steps", [])) - MANY),
        first_class=words.shorten(record["bundle"]["classes"][0]["name"], 80),
        seams=seam_section(record),
        statistics=_statistics(record),
        statistics_left_out=max(0, len(record["statistics"]) - MANY),
        preview=preview,
        warnings=[words.shorten(w, 1000) for w in warnings[:MANY]],
        warnings_left_out=max(0, len(warnings) - MANY),
        notes=[words.shorten(n, 1000) for n in notes[:MANY]],
        notes_left_out=max(0, len(notes) - MANY),
        failed_tiles=record["failed_tiles"][:MANY],
        failed_left_out=record.get("failed_tile_count", len(record["failed_tiles"]))
        - len(record["failed_tiles"][:MANY]),
        provenance=provenance(record),
        timings=_timings(record),
        command=words.shorten(record["command"], 4000),
        style=_asset("report.css"),
        script=script,
        script_digest=_digest(script),
    )


def _highlights(record: dict[str, Any], summary: dict[str, Any], unit: words.Unit) -> list[dict[str, str]]:
    """The figures that most readers came for: the largest classes, then the whole."""
    wanted = {c["name"] for c in record["bundle"]["classes"] if c["region"]}
    shown = [c for c in summary["classes"] if c["name"] in wanted] or summary["classes"]
    frames = words.frames_of(summary)
    together = f" in all {frames:,} frames" if frames > 1 else ""
    out = [
        {
            "label": words.shorten(c["name"], 40),
            "value": words.number(c["size"] * unit.factor),
            "unit": unit.label + together,
            "note": _per_frame(c, frames, unit) + f"{words.percent(c['share'])} of all that was classified",
        }
        for c in sorted(shown, key=lambda c: -c["size"])[:3]
    ]
    count = sum(c["regions"] or 0 for c in summary["classes"])
    whole = (
        f"in a footprint of {words.number(summary['footprint']['size'] * unit.factor)} {unit.label}{together}"
    )
    out.append({"label": "Regions", "value": f"{count:,}", "unit": together.strip(), "note": whole})
    return out


def _per_frame(row: dict[str, Any], frames: int, unit: words.Unit) -> str:
    return f"{words.number(row['size'] * unit.factor / frames)} {unit.label} a frame on average; " * (
        frames > 1
    )


def _picture(view: Panel, record: dict[str, Any]) -> dict[str, Any]:
    top = paint.layer(view.codes, record["bundle"]["classes"], words.reserved_codes(record))
    height, width = view.codes.shape
    return {
        "caption": view.caption,
        "base": _data("image/jpeg", paint.jpeg(view.base, limit=PICTURE_LIMIT)),
        "mask": _data("image/png", paint.png(top)),
        "width": width,
        "height": height,
        "sides": list(view.sides),
    }


def _legend(views: list[Panel], record: dict[str, Any], summary: dict[str, Any]) -> list[dict[str, Any]]:
    shares = {c["code"]: c["share"] for c in summary["classes"]}
    out = [
        {
            "name": words.shorten(c["name"], 60),
            "colour": c["colour"],
            "share": words.percent(shares.get(c["code"])),
        }
        for c in record["bundle"]["classes"]
        if c["region"]
    ][:MANY]
    for name, code in words.reserved_codes(record).items():
        if any((v.codes == code).any() for v in views):
            out.append({"name": name, "image": _data("image/png", paint.png(swatch(name, record)))})
    return out


def _class_rows(summary: dict[str, Any], unit: words.Unit) -> list[dict[str, Any]]:
    largest = max((c["share"] for c in summary["classes"]), default=0) or 1
    return [
        {
            "name": words.shorten(c["name"], 80),
            "colour": c["colour"],
            "code": c["code"],
            "size": words.number(c["size"] * unit.factor),
            "share": words.percent(c["share"]),
            "bar": f"{100 * c['share'] / largest:.2f}",
            "mean": words.number(c["size"] * unit.factor / words.frames_of(summary)),
            "pixels": f"{c['pixels']:,}",
            "regions": "–" if c["regions"] is None else f"{c['regions']:,}",
        }
        for c in summary["classes"][:MANY]
    ]


def _ledger(summary: dict[str, Any], unit: words.Unit) -> list[dict[str, str]]:
    """Where every pixel of the footprint went; each term is measured, so they may fail to add up."""
    terms = [
        (
            "Classified",
            sum(c["pixels"] for c in summary["classes"]),
            sum(c["size"] for c in summary["classes"]),
        ),
        ("No data", summary["nodata"]["pixels"], summary["nodata"]["size"]),
        ("Unobserved", summary["unobserved"]["pixels"], summary["unobserved"]["size"]),
        ("Failed", summary["failed"]["pixels"], summary["failed"]["size"]),
    ]
    whole = summary["footprint"]
    missing = whole["pixels"] - sum(t[1] for t in terms)
    if missing:
        terms.append(("Not accounted for", missing, whole["size"] - math.fsum(t[2] for t in terms)))
    terms.append(("Footprint", whole["pixels"], whole["size"]))
    return [
        {
            "name": name,
            "pixels": f"{pixels:,}",
            "size": words.number(size * unit.factor),
            "share": words.percent(pixels / whole["pixels"] if whole["pixels"] else None),
        }
        for name, pixels, size in terms
    ]


def _statistics(record: dict[str, Any]) -> list[list[str]]:
    keys = ("minimum", "p2", "mean", "p98", "maximum", "std")
    return [
        [
            words.shorten(str(s["channel"]), 80),
            f"{s['valid']:,}",
            *(words.number(s[k], trim=True) for k in keys),
        ]
        for s in record["statistics"][:MANY]
    ]


def _timings(record: dict[str, Any]) -> list[dict[str, str]]:
    total = sum(record["timings"].values()) or 1.0
    rows = [
        {"name": name, "value": words.duration(seconds), "bar": f"{100 * seconds / total:.2f}"}
        for name, seconds in record["timings"].items()
    ]
    return [*rows, {"name": "total", "value": words.duration(sum(record["timings"].values())), "bar": ""}]


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _asset(name: str) -> Markup:
    """Our own style or script: the only text that enters the page unescaped."""
    from markupsafe import Markup

    return Markup(_read(name))


@cache
def _read(name: str) -> str:
    return resources.files("tasks.reports").joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_read("template.html"))
