"""Virtual rasters read as GDAL reads them, and lead nowhere: not outside their folder, not to the network."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT

from tasks.errors import InputError
from tasks.imagery.open import open_image
from tasks.publishing.digests import input_digest

SIMPLE = """<VRTDataset rasterXSize="30" rasterYSize="20"><GeoTransform>500000,10,0,5300000,0,-10</GeoTransform>
<SRS>EPSG:32632</SRS>{head}<VRTRasterBand dataType="Byte" band="1"{band}>{inside}<SimpleSource>
<SourceFilename relativeToVRT="1">{file}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>{more}
</VRTRasterBand></VRTDataset>"""


def tiff(path: Path, *, first: int = 1, left: float = 500000, **options: Any) -> Path:
    values = (np.arange(600).reshape(1, 20, 30) % 200 + first).astype("uint8")
    profile = {"crs": "EPSG:32632", "transform": Affine(10, 0, left, 0, -10, 5300000)} | options
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=20, width=30, dtype="uint8", **profile
    ) as f:
        f.write(values)
    return path


def vrt(path: Path, file: object = "a.tif", **parts: str) -> Path:
    path.write_text(SIMPLE.format(**{"head": "", "band": "", "inside": "", "more": "", "file": file} | parts))
    return path


def values_of(path: Path) -> np.ndarray:
    image = open_image(path, scratch=path.parent)
    return image.read(tuple(slice(0, n) for n in image.info.shape)).values


def test_a_mosaic_equals_gdals(tmp_path: Path) -> None:
    (tmp_path / "tiles").mkdir()
    tiff(tmp_path / "tiles" / "a.tif")
    tiff(tmp_path / "tiles" / "b.tif", first=40, left=500300)
    path = tmp_path / "x.vrt"
    tile = "<SimpleSource><SourceFilename relativeToVRT='1'>tiles/{}.tif</SourceFilename><SourceBand>1</SourceBand>\
<SrcRect xOff='0' yOff='0' xSize='30' ySize='20'/><DstRect xOff='{}' yOff='0' xSize='30' ySize='20'/></SimpleSource>"
    path.write_text(
        "<VRTDataset rasterXSize='60' rasterYSize='20'><SRS>EPSG:32632</SRS>"
        "<GeoTransform>500000,10,0,5300000,0,-10</GeoTransform><VRTRasterBand dataType='Byte' band='1'>"
        f"<NoDataValue>0</NoDataValue>{tile.format('a', 0)}{tile.format('b', 30)}</VRTRasterBand></VRTDataset>"
    )
    with rasterio.open(path) as f:
        expected, info = f.read(1), open_image(path, scratch=tmp_path).info
        assert (info.shape, info.format, info.nodata) == (f.shape, "vrt", 0)
        assert info.grid["transform"] == tuple(f.transform[:6])
    np.testing.assert_array_equal(values_of(path)[..., 0], expected)


def test_a_warped_one_equals_gdals(tmp_path: Path) -> None:
    with rasterio.open(tiff(tmp_path / "a.tif")) as f, WarpedVRT(f, crs="EPSG:3857") as warped:
        expected = warped.read(1)
        rasterio.shutil.copy(warped, tmp_path / "x.vrt", driver="VRT")
    np.testing.assert_array_equal(values_of(tmp_path / "x.vrt")[..., 0], expected)


def test_virtual_rasters_of_virtual_rasters(tmp_path: Path) -> None:
    tiff(tmp_path / "a.tif")
    for i, inner in enumerate(["a.tif", "0.vrt", "1.vrt", "2.vrt"]):
        vrt(tmp_path / f"{i}.vrt", inner)
    np.testing.assert_array_equal(values_of(tmp_path / "2.vrt"), values_of(tmp_path / "a.tif"))
    with pytest.raises(InputError, match="more than 3 deep"):
        open_image(tmp_path / "3.vrt", scratch=tmp_path)
    vrt(tmp_path / "self.vrt", "self.vrt")
    with pytest.raises(InputError, match="more than 3 deep"):
        open_image(tmp_path / "self.vrt", scratch=tmp_path)


def test_sources_outside_need_a_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, here = tmp_path / "data", tmp_path / "here"
    data.mkdir()
    here.mkdir()
    tiff(data / "a.tif")
    (here / "link.tif").symlink_to(data / "a.tif")
    paths = [
        vrt(here / "up.vrt", "../data/a.tif"),
        vrt(here / "absolute.vrt", data / "a.tif"),
        vrt(here / "link.vrt", "link.tif"),
    ]
    for path in paths:
        with pytest.raises(InputError, match=f"SEGFLOW_ROOTS={data}"):
            open_image(path, scratch=tmp_path)
    monkeypatch.setenv("SEGFLOW_ROOTS", os.pathsep.join([str(tmp_path / "none"), str(data)]))
    for path in paths:
        assert values_of(path).shape == (20, 30, 1)


def raw(path: Path) -> Path:
    return vrt(path, band=' subClass="VRTRawRasterBand"')


def python(path: Path) -> Path:
    parts = "<PixelFunctionType>f.f</PixelFunctionType><PixelFunctionLanguage>Python</PixelFunctionLanguage>"
    return vrt(path, band=' subClass="VRTDerivedRasterBand"', inside=parts)


def laughs(path: Path) -> Path:
    entities = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(9))
    path.write_text(f'<!DOCTYPE v [<!ENTITY l0 "ha">{entities}]><VRTDataset>&l9;</VRTDataset>')
    return path


def reading(path: Path) -> Path:
    path.write_text('<!DOCTYPE v [<!ENTITY e SYSTEM "file:///etc/passwd">]><VRTDataset>&e;</VRTDataset>')
    return path


def other_letters(path: Path) -> Path:
    path.write_text(vrt(path).read_text().replace("SourceFilename", "sourcefilename"))
    return path


def inner_service(path: Path) -> Path:
    (path.parent / "a.xml").write_text(
        "<GDAL_WMS><Service name='TMS'><ServerUrl>http://127.0.0.1:{port}/</ServerUrl></Service></GDAL_WMS>"
    )
    return vrt(path, "a.xml")


def beside(path: Path) -> Path:
    """An overview of a source elsewhere."""
    with rasterio.open(path.with_name("a.tif"), "r+") as f:
        f.update_tags(ns="OVERVIEWS", OVERVIEW_FILE="/etc/passwd")
    return vrt(path)


REFUSED = {
    "password": (lambda p: vrt(p, "/etc/passwd"), "outside its own folder"),
    "password, upwards": (lambda p: vrt(p, "../" * 30 + "etc/passwd"), "outside its own folder"),
    "network": (lambda p: vrt(p, "/vsicurl/http://127.0.0.1:{port}/a.tif"), "only the command line may name"),
    "storage": (lambda p: vrt(p, "/vsis3/bucket/a.tif"), "only the command line may name"),
    "address": (lambda p: vrt(p, "http://127.0.0.1:{port}/a.tif"), "only the command line may name"),
    "chained": (lambda p: vrt(p, "/vsizip//vsicurl/http://127.0.0.1:{port}/a.zip/a.tif"), "only the command"),
    "another driver": (lambda p: vrt(p, "GTIFF_DIR:1:a.tif"), "is no file"),
    "text inside": (lambda p: vrt(p, "&lt;VRTDataset/&gt;"), "is no file"),
    "missing": (lambda p: vrt(p, "b.tif"), "is no file"),
    "a service": (inner_service, "virtual rasters may name only those"),
    "raw": (raw, "VRTRawRasterBand"),
    "python": (python, "Python code"),
    "billion laughs": (laughs, "declares a document type"),
    "entity of a file": (reading, "declares a document type"),
    "other letters": (other_letters, "<sourcefilename>"),
    "open options": (
        lambda p: vrt(p, more="<ComplexSource><OpenOptions><OOI key='ROOT_PATH'>/</OOI></OpenOptions></ComplexSource>"),
        "<OpenOptions>",
    ),
    "system of coordinates": (lambda p: vrt(p, head="<SRS>http://127.0.0.1:{port}/srs</SRS>"), "no WKT or code"),
    "overview": (lambda p: vrt(p, more="<Overview><SourceFilename>/etc/passwd</SourceFilename></Overview>"), "outside"),
    "overview of a source": (beside, "no image may name other files"),
    "path in an option": (
        lambda p: vrt(p, head="<GDALWarpOptions><Option name='X'>/etc/passwd</Option></GDALWarpOptions>"), "a path"
    ),
    "no xml": (lambda p: (p.write_text("<VRTDataset"), p)[1], "no valid VRT"),
    "other xml": (lambda p: (p.write_text("<html/>"), p)[1], "not a VRT"),
    "utf-16": (lambda p: (p.write_bytes("<VRTDataset/>".encode("utf-16")), p)[1], "no valid VRT"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str, connections: tuple[int, list[object]]) -> None:
    port, came = connections
    make, words = REFUSED[case]
    tiff(tmp_path / "a.tif")
    path = make(tmp_path / "x.vrt")
    for file in (path, tmp_path / "a.xml"):
        if file.exists() and b"{port}" in file.read_bytes():
            file.write_text(file.read_text().replace("{port}", str(port)))
    with pytest.raises(InputError) as caught:
        open_image(path, scratch=tmp_path)
    assert words in str(caught.value)
    assert not came


def test_metadata_that_name_files_are_left_out(tmp_path: Path, connections: tuple[int, list[object]]) -> None:
    port, came = connections
    tiff(tmp_path / "a.tif")
    address = f"/vsicurl/http://127.0.0.1:{port}/a.tif"
    domains = f"""<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{address}</MDI></Metadata>
<Metadata domain="GEOLOCATION"><MDI key="X_DATASET">{address}</MDI></Metadata>"""
    assert values_of(vrt(tmp_path / "x.vrt", head=domains)).shape == (20, 30, 1)
    assert not came


def test_a_truncated_source_is_refused(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif")
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match="truncated"):
        open_image(vrt(tmp_path / "x.vrt"), scratch=tmp_path)


def test_the_digest_covers_the_sources(tmp_path: Path) -> None:
    tiff(tmp_path / "a.tif")
    outer = vrt(tmp_path / "outer.vrt", vrt(tmp_path / "inner.vrt").name)
    cache = tmp_path / "cache"
    before = input_digest(outer, cache=cache)
    assert before == input_digest(outer, cache=cache)
    # The very same elsewhere is the same.
    shutil.copytree(tmp_path, tmp_path / "copy", ignore=shutil.ignore_patterns("cache", "copy"))
    assert before == input_digest(tmp_path / "copy" / "outer.vrt", cache=cache)
    tiff(tmp_path / "a.tif", first=2)
    after = input_digest(outer, cache=cache)
    assert after != before
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset/>")
    assert input_digest(outer, cache=cache) not in (before, after)
