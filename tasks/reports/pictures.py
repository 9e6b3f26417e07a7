"""``overview.png``: input and result on one sheet, with a legend."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.imagery.protocol import Image
from tasks.reports import paint, words
from tasks.reports.panels import Panel, fit, panels

if TYPE_CHECKING:
    from PIL import Image as PILImage
    from PIL import ImageDraw, ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

INK, SOFT, PAPER, FRAME = (28, 32, 38), (96, 104, 114), (255, 255, 255), (214, 218, 224)
MARGIN, GAP = 28, 16
#: Of the mask in ``overview.png``; the report has a slider.
OPACITY = 0.8
CONVENTION = "Radiological convention: the patient's right is on the left of axial and coronal planes."


def overview(
    image: Image,
    mask_path: Path,
    record: dict[str, Any],
    *,
    summary: dict[str, Any] | None = None,
    size: int = 1400,
) -> PILImage.Image:
    """Input beside (or above) the input with its mask, and a legend.

    Args:
        image: The open input.
        mask_path: ``mask.tif`` or ``mask.nii.gz``.
        record: What ``run.json`` will hold.
        summary: ``summary.json``; adds shares to the legend.
        size: Width of the sheet in pixels.

    Returns:
        An RGB picture, ``size`` pixels wide.
    """
    return compose(panels(image, mask_path, record, size=size), record, summary=summary, size=size)


def compose(
    views: list[Panel], record: dict[str, Any], *, summary: dict[str, Any] | None = None, size: int = 1400
) -> PILImage.Image:
    """Lays ready panels out as ``overview`` describes."""
    from PIL import Image as PILImage
    from PIL import ImageDraw

    inner = size - 2 * MARGIN
    volume = views[0].name != "image"
    rows, label_height = _arrange(views, inner, volume=volume), 30
    row_heights = [max(v.base.shape[0] for v, _ in row) for row in rows]
    legend = _legend_items(views, record, summary)
    legend_rows = _flow(legend, inner)
    told = any(v.sides for v in views)
    foot = 24 if told else 0
    height = 92 + sum(h + label_height for h in row_heights) + GAP * (len(rows) - 1) + 20
    height += 30 * len(legend_rows) + foot + MARGIN - 10
    sheet = PILImage.new("RGB", (size, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    _text(draw, (MARGIN, 24), record["item"], 26, INK, inner)
    model = f"{record['bundle']['name']} {record['bundle']['version']}"
    _text(draw, (MARGIN, 58), f"{words.input_name(record)}   ·   {model}", 16, SOFT, inner)
    top = 92
    for row, row_height in zip(rows, row_heights, strict=True):
        left = MARGIN
        for view, masked in row:
            _text(draw, (left, top), _title(view, masked=masked), 15, SOFT, view.base.shape[1])
            picture = view.base
            if masked:
                picture = paint.blend(picture, _layer(view, record), OPACITY)
            at = (left, top + label_height)
            sheet.paste(PILImage.fromarray(picture), at)
            draw.rectangle(
                (at[0] - 1, at[1] - 1, at[0] + picture.shape[1], at[1] + picture.shape[0]), outline=FRAME
            )
            _sides(draw, view, at)
            left += picture.shape[1] + GAP
        top += label_height + row_height + GAP
    top += 4
    for line in legend_rows:
        left = MARGIN
        for swatch, text in line:
            sheet.paste(PILImage.fromarray(swatch), (left, top + 2))
            draw.text((left + 28, top), text, font=_font(16), fill=INK)
            left += _item_width(text)
        top += 30
    if told:
        _text(draw, (MARGIN, top), CONVENTION, 14, SOFT, inner)
    return sheet


def save(picture: PILImage.Image, path: Path, *, limit: int = 1_400_000) -> None:
    """Writes a PNG of at most ``limit`` bytes: full colour, else 256 colours, else smaller."""
    from PIL import Image as PILImage

    while True:
        for candidate in (picture, picture.quantize(256, method=PILImage.Quantize.MEDIANCUT)):
            out = io.BytesIO()
            candidate.save(out, "PNG", compress_level=6)
            if out.tell() <= limit:
                path.write_bytes(out.getvalue())
                return
        picture = picture.resize(
            (picture.width * 3 // 4, picture.height * 3 // 4), PILImage.Resampling.LANCZOS
        )


def _arrange(views: list[Panel], inner: int, *, volume: bool) -> list[list[tuple[Panel, bool]]]:
    """Rows of (panel, with mask?) that fill the sheet's width."""
    if volume:
        total = sum(v.base.shape[1] for v in views) + GAP * (len(views) - 1)
        factor = min(1.6, (inner - GAP * (len(views) - 1)) / (total - GAP * (len(views) - 1)))
        views = [
            _resized(v, round(v.base.shape[0] * factor), math.floor(v.base.shape[1] * factor)) for v in views
        ]
        return [[(v, False) for v in views], [(v, True) for v in views]]
    view = views[0]
    height, width = view.base.shape[:2]
    if width > 2.6 * height:
        wide = _resized(view, *fit(height, width, inner))
        return [[(wide, False)], [(wide, True)]]
    half = (inner - GAP) // 2
    rows, columns = fit(height, width, half if width >= height else min(900, round(half * height / width)))
    view = _resized(view, rows, min(columns, half))
    return [[(view, False), (view, True)]]


def _resized(view: Panel, height: int, width: int) -> Panel:
    from PIL import Image as PILImage

    height, width = max(1, height), max(1, width)
    if (height, width) == view.base.shape[:2]:
        return view
    enlarged = PILImage.Resampling.NEAREST if view.name == "image" else PILImage.Resampling.BICUBIC
    how = PILImage.Resampling.BOX if height <= view.base.shape[0] else enlarged
    base = np.asarray(PILImage.fromarray(view.base).resize((width, height), how))
    return Panel(view.name, view.caption, base, paint.enlarge(view.codes, height, width), view.sides)


def _layer(view: Panel, record: dict[str, Any]) -> paint.Picture:
    return paint.layer(view.codes, record["bundle"]["classes"], words.reserved_codes(record))


def _title(view: Panel, *, masked: bool) -> str:
    what = "Mask" if masked else "Input"
    return what if view.name == "image" else f"{what} · {view.caption}"


def _legend_items(
    views: list[Panel], record: dict[str, Any], summary: dict[str, Any] | None
) -> list[tuple[paint.Picture, str]]:
    shares = {c["code"]: c["share"] for c in summary["classes"]} if summary else {}
    items = []
    for c in record["bundle"]["classes"][:24]:
        if c["region"]:
            chip = np.full((18, 18, 3), paint.rgb(c["colour"]), np.uint8)
            share = f"  {words.percent(shares[c['code']])}" if c["code"] in shares else ""
            items.append((chip, words.shorten(c["name"], 40) + share))
    left_out = len(record["bundle"]["classes"]) - 24
    if left_out > 0:
        items.append((np.full((18, 18, 3), 255, np.uint8), f"and {left_out} more classes"))
    for name, code in words.reserved_codes(record).items():
        if any((v.codes == code).any() for v in views):
            items.append((swatch(name, record), name))
    return items


def swatch(name: str, record: dict[str, Any]) -> paint.Picture:
    """A legend chip for nodata, failed or unobserved."""
    reserved = words.reserved_codes(record)
    codes = np.full((18, 18), reserved[name])
    base = paint.with_nodata(np.full((18, 18, 3), 235, np.uint8), codes == reserved["nodata"])
    return paint.blend(base, paint.layer(codes, [], reserved))


def _item_width(text: str) -> int:
    return 28 + math.ceil(_font(16).getlength(text)) + 30


def _flow(items: list[tuple[paint.Picture, str]], inner: int) -> list[list[tuple[paint.Picture, str]]]:
    rows: list[list[tuple[paint.Picture, str]]] = [[]]
    used = 0
    for item in items:
        width = _item_width(item[1])
        if used + width > inner and rows[-1]:
            rows.append([])
            used = 0
        rows[-1].append(item)
        used += width
    return rows


def _sides(draw: ImageDraw.ImageDraw, view: Panel, at: tuple[int, int]) -> None:
    if not view.sides or min(view.base.shape[:2]) < 80:
        return
    left, right, top, bottom = view.sides
    height, width = view.base.shape[:2]
    x, y = at
    for letter, place, anchor in (
        (left, (x + 8, y + height // 2), "lm"),
        (right, (x + width - 8, y + height // 2), "rm"),
        (top, (x + width // 2, y + 8), "mt"),
        (bottom, (x + width // 2, y + height - 8), "mb"),
    ):
        draw.text(
            place, letter, font=_font(16), fill=PAPER, anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0)
        )


def _text(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    size: int,
    fill: tuple[int, int, int],
    width: int,
) -> None:
    """One line, shortened to ``width`` pixels."""
    font = _font(size)
    text = " ".join(words.shorten(text, 300).split())
    if font.getlength(text) > width:
        while text and font.getlength(text + "…") > width:
            text = text[:-1]
        text += "…"
    draw.text(at, text, font=font, fill=fill)


def _font(size: int) -> Font:
    """Pillow's own font, so that the picture is the same on every machine."""
    from PIL import ImageFont

    return ImageFont.load_default(size)
