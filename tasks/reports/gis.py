"""What desktop GIS reads beside ``mask.tif``: class names and colours for GDAL and QGIS.

A TIFF has no place for class names; GDAL keeps them in ``mask.tif.aux.xml``, as a list of categories and as
an attribute table, with the statistics of the band, which the summary counted. ``mask.qml`` is QGIS's style.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from tasks.files import atomic_write
from tasks.imagery.mask_files import SPECIAL_COLOURS
from tasks.reports import words

CATEGORIES, STYLE = "mask.tif.aux.xml", "mask.qml"
#: Kinds of GDAL's columns: type (0 integer, 2 text) and usage (5 value, 2 name, 1 count, 6 to 9 colours).
_COLUMNS = (
    ("Value", 0, 5), ("Class", 2, 2), ("Count", 0, 1), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8),
    ("Alpha", 0, 9),
)  # fmt: skip


def write_gis(directory: Path, *, record: dict[str, Any], summary: dict[str, Any]) -> None:
    """Writes ``mask.tif.aux.xml`` and ``mask.qml``.

    Args:
        directory: Where ``mask.tif`` lies.
        record: What ``run.json`` will hold.
        summary: ``summary.json``.

    Raises:
        OutputError: They cannot be written.
    """
    rows = _rows(record, summary)
    _write(directory / CATEGORIES, _aux(rows, nodata=words.reserved_codes(record)["nodata"]))
    _write(directory / STYLE, _qml(rows, nodata=words.reserved_codes(record)["nodata"]))


Row = tuple[int, str, int, str]


def _rows(record: dict[str, Any], summary: dict[str, Any]) -> list[Row]:
    """Code, name, pixels and colour of every class and of every reason for having none."""
    counts = {int(c["code"]): int(c["pixels"]) for c in summary["classes"]}
    classes = [
        (int(c["code"]), c["name"], counts[int(c["code"])], c["colour"]) for c in record["bundle"]["classes"]
    ]
    reserved = [
        (code, name, int(summary[name]["pixels"]), SPECIAL_COLOURS[name])
        for name, code in words.reserved_codes(record).items()
    ]
    return sorted([*classes, *reserved])


def _write(path: Path, root: ET.Element) -> None:
    ET.indent(root)
    with atomic_write(path) as stream:
        # No declaration: GDAL takes no notice of a file that begins with one.
        ET.ElementTree(root).write(stream, encoding="utf-8", xml_declaration=False)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _text(parent: ET.Element, tag: str, text: object, **attributes: str) -> None:
    ET.SubElement(parent, tag, attributes).text = _clean(str(text))


def _clean(text: str) -> str:
    """Without what XML cannot hold."""
    return "".join(c if c.isprintable() else " " for c in text)


def _aux(rows: list[Row], *, nodata: int) -> ET.Element:
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    # Categories are listed from 0 without a gap: of a uint16 mask that would be 65536.
    if nodata < 256:
        names = {code: name for code, name, _, _ in rows}
        listed = ET.SubElement(band, "CategoryNames")
        for code in range(nodata + 1):
            _text(listed, "Category", names.get(code, ""))
    table = ET.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for i, (name, kind, usage) in enumerate(_COLUMNS):
        column = ET.SubElement(table, "FieldDefn", index=str(i))
        for tag, value in (("Name", name), ("Type", kind), ("Usage", usage)):
            _text(column, tag, value)
    for i, (code, name, pixels, colour) in enumerate(rows):
        row = ET.SubElement(table, "Row", index=str(i))
        for value in (code, name, pixels, *_rgb(colour), 0 if code == nodata else 255):
            _text(row, "F", value)
    metadata = ET.SubElement(band, "Metadata")
    for key, number in _statistics(rows, nodata=nodata).items():
        _text(metadata, "MDI", number, key=f"STATISTICS_{key}")
    return root


def _statistics(rows: list[Row], *, nodata: int) -> dict[str, str]:
    """Of the codes that are not nodata, exact."""
    seen = [(code, pixels) for code, _, pixels, _ in rows if pixels and code != nodata]
    total = sum(pixels for _, pixels in seen)
    if not total:
        return {}
    mean = sum(code * pixels for code, pixels in seen) / total
    variance = sum((code - mean) ** 2 * pixels for code, pixels in seen) / total
    share = 100 * total / sum(pixels for _, _, pixels, _ in rows)
    return {
        "MINIMUM": str(min(seen)[0]),
        "MAXIMUM": str(max(seen)[0]),
        "MEAN": repr(mean),
        "STDDEV": repr(math.sqrt(variance)),
        "VALID_PERCENT": f"{share:.4g}",
    }


def _qml(rows: list[Row], *, nodata: int) -> ET.Element:
    """A paletted renderer; nodata is left out and so not drawn."""
    root = ET.Element("qgis", version="3.28.0", styleCategories="Symbology|Rendering")
    pipe = ET.SubElement(root, "pipe")
    renderer = ET.SubElement(
        pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1", nodataColor=""
    )
    entries = ET.SubElement(renderer, "colorPalette")
    for code, name, pixels, colour in rows:
        drawn = pixels or code < nodata - 2  # reserved codes only where they occur
        if code != nodata and drawn:
            ET.SubElement(
                entries,
                "paletteEntry",
                value=str(code),
                label=_clean(name),
                color=colour.lower(),
                alpha="255",
            )
    ET.SubElement(pipe, "brightnesscontrast", brightness="0", contrast="0", gamma="1")
    ET.SubElement(pipe, "huesaturation", saturation="0", grayscaleMode="0")
    ET.SubElement(pipe, "rasterresampler", maxOversampling="2")
    _text(root, "blendMode", 0)
    return root
