"""Every mask is a Cloud Optimised GeoTIFF to the letter, as rio-cogeo reads the letter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from segmodels.bundles.card import ClassCard
from tasks.imagery.open import open_image
from tasks.imagery.writers import create_mask

CLASSES = [ClassCard(name=n, code=i, colour=f"#10{i}0ff") for i, n in enumerate(("land", "water"))]


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (511, 513), (700, 934), (1100, 513)])
def test_masks_are_valid_cogs(tmp_path: Path, shape: tuple[int, int], wide: bool) -> None:
    image = tmp_path / "in.tif"
    profile = {"driver": "GTiff", "height": shape[0], "width": shape[1], "count": 1, "dtype": "uint8"}
    with rasterio.open(
        image, "w", crs="EPSG:32633", transform=rasterio.Affine(10, 0, 3e5, 0, -10, 5e6), **profile
    ):
        pass
    opened = open_image(image, scratch=tmp_path)
    writer = create_mask(opened.info, tmp_path / "mask.tif", classes=CLASSES, wide=wide, tags={"A": "b"})
    codes = np.zeros(shape, np.uint16 if wide else np.uint8)
    codes[0] = 1
    writer.write((slice(0, shape[0]), slice(0, shape[1])), codes)
    writer.finish()
    assert cog_validate(tmp_path / "mask.tif", strict=True) == (True, [], [])
    with rasterio.open(tmp_path / "mask.tif") as mask:
        assert mask.nodata == (65535 if wide else 255)
        np.testing.assert_array_equal(mask.read(1), codes)
