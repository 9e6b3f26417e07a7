"""Class names, colours and statistics as GDAL reads them, and QGIS's style."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from tasks.reports.gis import write_gis


@pytest.fixture
def folder(earth: Any, tmp_path: Path) -> Path:
    shutil.copy(earth.directory / "mask.tif", tmp_path)
    write_gis(tmp_path, record=earth.record, summary=earth.summary)
    return tmp_path


def test_gdal_reads_statistics_and_categories(folder: Path, earth: Any) -> None:
    with rasterio.open(folder / "mask.tif") as mask:
        tags = mask.tags(1)
        codes = mask.read(1)
        # GDAL's own statistics are what it reads when they are there, so these must be what it would compute.
        values = codes[codes != mask.nodata].astype(float)
        assert float(tags["STATISTICS_MINIMUM"]) == values.min()
        assert float(tags["STATISTICS_MAXIMUM"]) == values.max()
        assert float(tags["STATISTICS_MEAN"]) == pytest.approx(values.mean())
        assert float(tags["STATISTICS_STDDEV"]) == pytest.approx(values.std())
        # Copied as a virtual raster, GDAL shows what categories and table it has read.
        rasterio.shutil.copy(mask, folder / "copy.vrt", driver="VRT")
    band = ET.parse(folder / "copy.vrt").getroot().find("VRTRasterBand")
    assert band is not None
    names = [c.text or "" for c in band.iter("Category")]
    wanted = {c["code"]: c["name"] for c in earth.record["bundle"]["classes"]}
    assert {i: n for i, n in enumerate(names) if n} == {
        **wanted, 253: "unobserved", 254: "failed", 255: "nodata"
    }  # fmt: skip


def test_attribute_table_counts_every_pixel(folder: Path, earth: Any) -> None:
    table = ET.parse(folder / "mask.tif.aux.xml").getroot().find(".//GDALRasterAttributeTable")
    assert table is not None
    rows = [[f.text or "" for f in row.iter("F")] for row in table.iter("Row")]
    assert {int(r[0]): int(r[2]) for r in rows if int(r[2])} == {
        int(c): int((earth.codes == c).sum()) for c in np.unique(earth.codes)
    }


def test_style_names_every_class_once(folder: Path, earth: Any) -> None:
    root = ET.parse(folder / "mask.qml").getroot()
    renderer = root.find("pipe/rasterrenderer")
    assert root.tag == "qgis"
    assert renderer is not None
    assert renderer.get("type") == "paletted"
    entries = {int(str(e.get("value"))): (e.get("label"), e.get("color")) for e in root.iter("paletteEntry")}
    for c in earth.record["bundle"]["classes"]:
        assert entries[c["code"]] == (c["name"], c["colour"].lower())
    assert 255 not in entries
