"""Blocks that are damaged in the middle of an image cost themselves: the rest is published, and it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

SIZE, BLOCK = 384, 64
PLACE = {"crs": "EPSG:32632", "transform": Affine(10, 0, 5e5, 0, -10, 5e6)}


@pytest.mark.parametrize("virtual", [False, True])
def test_the_rest_is_published(tmp_path: Path, segflow: Any, make_bundle: Any, virtual: bool) -> None:
    values = np.random.default_rng(0).integers(0, 2, (SIZE, SIZE)).astype("uint8")
    path = tmp_path / "x.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=SIZE, width=SIZE, dtype="uint8", tiled=True, blockxsize=BLOCK,
        blockysize=BLOCK, compress="deflate", **PLACE,
    ) as f:  # fmt: skip
        f.write(values, 1)
    with rasterio.open(path) as f:
        offset, size = (int(f.get_tag_item(f"BLOCK_{k}_3_2", "TIFF", bidx=1)) for k in ("OFFSET", "SIZE"))
    data = bytearray(path.read_bytes())
    data[offset : offset + size] = bytes(size)
    path.write_bytes(data)
    image = path
    if virtual:
        image = tmp_path / "x.vrt"
        image.write_text(
            f'<VRTDataset rasterXSize="{SIZE}" rasterYSize="{SIZE}"><SRS>EPSG:32632</SRS><GeoTransform>500000,10,0,'
            '5000000,0,-10</GeoTransform><VRTRasterBand dataType="Byte" band="1" blockXSize="64" blockYSize="64">'
            '<SimpleSource><SourceFilename relativeToVRT="1">x.tif</SourceFilename><SourceBand>1</SourceBand>'
            "</SimpleSource></VRTRasterBand></VRTDataset>"
        )
    model = make_bundle((0.5,), tile=(32, 32), overlap=0)
    ran = segflow.run(image, model, tmp_path / "out", "--block", "64")
    assert (ran.code, ran.answer["status"]) == (4, "partial"), ran.error
    assert (ran.folder / "report.html").is_file()
    with rasterio.open(ran.folder / "mask.tif") as f:
        codes = f.read(1)
    failed = np.zeros((SIZE, SIZE), bool)
    failed[2 * BLOCK : 3 * BLOCK, 3 * BLOCK : 4 * BLOCK] = True
    np.testing.assert_array_equal(codes == 254, failed)
    np.testing.assert_array_equal(codes[~failed], values[~failed])
