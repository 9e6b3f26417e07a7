"""Tiny products with the structure and metadata of real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from rasterio.transform import from_origin

ORIGIN = (600000.0, 5000040.0)
LANDSAT = "LC08_L2SP_003017_20200101_20200823_02_T1"
_MTL = """GROUP = LANDSAT_METADATA_FILE
  GROUP = PRODUCT_CONTENTS
    PROCESSING_LEVEL = "L2SP"
  END_GROUP = PRODUCT_CONTENTS
  GROUP = IMAGE_ATTRIBUTES
    SPACECRAFT_ID = "LANDSAT_8"
    SUN_ELEVATION = 30.0
  END_GROUP = IMAGE_ATTRIBUTES
  GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
{level2}  END_GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
  GROUP = LEVEL2_SURFACE_TEMPERATURE_PARAMETERS
    TEMPERATURE_MULT_BAND_ST_B10 = 0.00341802
    TEMPERATURE_ADD_BAND_ST_B10 = 149.0
  END_GROUP = LEVEL2_SURFACE_TEMPERATURE_PARAMETERS
  GROUP = LEVEL1_RADIOMETRIC_RESCALING
{level1}  END_GROUP = LEVEL1_RADIOMETRIC_RESCALING
END_GROUP = LANDSAT_METADATA_FILE
END
"""
_NS = "https://psd-15.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd"


def write_band(
    path: Path, values: npt.NDArray[Any], *, pixel: float = 10, crs: str = "EPSG:32632", **how: Any
) -> Path:
    """A raster whose corner is the same for every size of pixel; JPEG 2000 by its suffix, without loss."""
    values = values[None] if values.ndim == 2 else values
    jp2 = path.suffix == ".jp2"
    options: dict[str, Any] = {"QUALITY": 100, "REVERSIBLE": "YES"} if jp2 else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    corner = how.pop("corner", ORIGIN)
    descriptions = how.pop("descriptions", ())
    with rasterio.open(
        path,
        "w",
        driver="JP2OpenJPEG" if jp2 else "GTiff",
        count=len(values),
        height=values.shape[1],
        width=values.shape[2],
        dtype=values.dtype,
        crs=crs,
        transform=from_origin(*corner, pixel, pixel),
        **options,
        **how,
    ) as file:
        file.write(values)
        for i, text in enumerate(descriptions, 1):
            file.set_band_description(i, text)
    return path


def numbers(seed: int, shape: tuple[int, int] = (24, 36)) -> npt.NDArray[np.uint16]:
    """Digital numbers; the first pixel has no data."""
    values = np.random.default_rng(seed).integers(1000, 6000, shape).astype(np.uint16)
    values[0, 0] = 0
    return values


@pytest.fixture
def band_file() -> Callable[..., Path]:
    return write_band


@pytest.fixture
def landsat(tmp_path: Path) -> Path:
    """Level 2: bands 2 to 5 and 10, quality with a cloud, a shadow and snow."""
    folder = tmp_path / LANDSAT
    for n in (2, 3, 4, 5):
        write_band(folder / f"{LANDSAT}_SR_B{n}.TIF", numbers(n), pixel=30)
    write_band(folder / f"{LANDSAT}_ST_B10.TIF", numbers(10), pixel=30)
    quality = np.full((24, 36), 1 << 6, np.uint16)
    quality[2, 3], quality[4, 5], quality[6, 7] = 1 << 3, 1 << 4, 1 << 5
    write_band(folder / f"{LANDSAT}_QA_PIXEL.TIF", quality, pixel=30)
    level2 = "".join(
        f"    REFLECTANCE_MULT_BAND_{n} = 2.75e-05\n    REFLECTANCE_ADD_BAND_{n} = -0.2\n"
        for n in range(1, 8)
    )
    level1 = "".join(
        f"    REFLECTANCE_MULT_BAND_{n} = 2.0000E-05\n    REFLECTANCE_ADD_BAND_{n} = -0.100000\n"
        for n in range(1, 10)
    )
    (folder / f"{LANDSAT}_MTL.txt").write_text(_MTL.format(level2=level2, level1=level1))
    return folder


@pytest.fixture
def safe(tmp_path: Path) -> Callable[..., Path]:
    """An unpacked Sentinel-2 product: 10 m bands, two of 20 m, and its classes."""

    def make(
        *, level: str = "2A", baseline: str = "05.09", offset: int | None = -1000, suffix: str = ".tif"
    ) -> Path:
        folder = tmp_path / f"S2B_MSIL{level}_20240101T101409_N0509_R022_T32TQM_20240101T120000.SAFE"
        data = folder / "GRANULE" / f"L{level}_T32TQM_A012345_20240101T101411" / "IMG_DATA"
        stem = "T32TQM_20240101T101409"
        for i, name in enumerate(("B02", "B03", "B04", "B08")):
            write_band(data / "R10m" / f"{stem}_{name}_10m{suffix}", numbers(i))
            write_band(data / "R20m" / f"{stem}_{name}_20m{suffix}", numbers(i, (12, 18)), pixel=20)
        write_band(data / "R20m" / f"{stem}_B11_20m{suffix}", numbers(11, (12, 18)), pixel=20)
        classes = np.full((12, 18), 4, np.uint8)
        classes[3, 4:6], classes[5, 6], classes[8, 9] = 9, 3, 11
        write_band(data / "R20m" / f"{stem}_SCL_20m{suffix}", classes, pixel=20)
        divisor = "BOA_QUANTIFICATION_VALUE" if level == "2A" else "QUANTIFICATION_VALUE"
        tag = "BOA_ADD_OFFSET" if level == "2A" else "RADIO_ADD_OFFSET"
        offsets = (
            "" if offset is None else "".join(f'<{tag} band_id="{i}">{offset}</{tag}>' for i in range(13))
        )
        (folder / f"MTD_MSIL{level}.xml").write_text(
            f'<?xml version="1.0" encoding="UTF-8"?><n1:Level-{level}_User_Product xmlns:n1="{_NS}">'
            f"<n1:General_Info><Product_Info><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE></Product_Info>"
            f'<Product_Image_Characteristics><{divisor} unit="none">10000</{divisor}><Offsets>{offsets}</Offsets>'
            f"</Product_Image_Characteristics></n1:General_Info></n1:Level-{level}_User_Product>"
        )
        return folder

    return make
