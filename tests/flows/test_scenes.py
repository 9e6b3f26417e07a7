"""``segflow run`` on a scene: bands in files, reflectances, clouds that are never predicted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

NAME = "LC08_L2SP_003017_20200101_20200823_02_T1"
MTL = """GROUP = LANDSAT_METADATA_FILE
  GROUP = IMAGE_ATTRIBUTES
    SPACECRAFT_ID = "LANDSAT_8"
  END_GROUP = IMAGE_ATTRIBUTES
  GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
{lines}  END_GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
END_GROUP = LANDSAT_METADATA_FILE
"""


def band(path: Path, values: Any) -> None:
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=1,
        height=values.shape[0],
        width=values.shape[1],
        dtype=values.dtype,
        crs="EPSG:32622",
        transform=from_origin(600000, 5000040, 30, 30),
    ) as file:
        file.write(values, 1)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    folder = tmp_path / NAME
    folder.mkdir()
    rows, columns = np.indices((90, 110))
    water = (rows - 45) ** 2 + (columns - 55) ** 2 < 900
    for n, (wet, dry) in {2: (0.08, 0.06), 3: (0.09, 0.08), 4: (0.05, 0.1), 5: (0.02, 0.4)}.items():
        values = np.rint((np.where(water, wet, dry) + 0.2) / 2.75e-5).astype(np.uint16)
        values[:4] = 0
        band(folder / f"{NAME}_SR_B{n}.TIF", values)
    quality = np.full(water.shape, 1 << 6, np.uint16)
    quality[40:50, 20:60] = 1 << 3
    quality[2:8, 0:10] = 1 << 4
    band(folder / f"{NAME}_QA_PIXEL.TIF", quality)
    lines = "".join(
        f"    REFLECTANCE_MULT_BAND_{n} = 2.75e-05\n    REFLECTANCE_ADD_BAND_{n} = -0.2\n"
        for n in range(2, 6)
    )
    (folder / f"{NAME}_MTL.txt").write_text(MTL.format(lines=lines))
    return folder


def card_of_reflectances(home: Path, segflow: Any) -> Path:
    """The shipped water index, for reflectances."""
    from segmodels.bundles.bundle import load_bundle
    from segmodels.bundles.write import write_bundle
    from segmodels.zoo.make_water_ndwi import METHOD

    card = load_bundle("water-ndwi").card
    channels = tuple(
        c.model_copy(update={"units": "reflectance", "minimum": -0.1, "maximum": 1.0}) for c in card.channels
    )
    golden = np.random.default_rng(0).random((1, 16, 16, 4)).astype(np.float32)
    write_bundle(
        home / "water",
        card=card.model_copy(
            update={"name": "water", "channels": channels, "validity": ("qa_pixel",), "digests": {}}
        ),
        method=METHOD,
        golden_input=golden,
    )
    return home / "water"


def test_a_scenes_folder_is_segmented_in_reflectances_without_its_clouds(
    scene: Path, segflow: Any, tmp_path: Path
) -> None:
    bundle = card_of_reflectances(tmp_path, segflow)
    ran = segflow("run", scene, "--model", bundle, "--out", tmp_path / "out", "--direct", "--json")
    assert ran.code == 0, ran.error
    record = json.loads((ran.folder / "run.json").read_text())
    assert [b["channel"] + " " + b["name"] for b in record["input"]["bands"]] == [
        "red B4",
        "green B3",
        "blue B2",
        "nir B5",
    ]
    assert record["input"]["size"] == sum(p.stat().st_size for p in scene.iterdir())
    assert "red (B4), green (B3)" in (ran.folder / "report.html").read_text()
    with rasterio.open(ran.folder / "mask.tif") as file:
        mask = file.read(1)
    rows, columns = np.indices(mask.shape)
    expected = ((rows - 45) ** 2 + (columns - 55) ** 2 < 900).astype(np.uint8)
    expected[40:50, 20:60] = expected[2:8, 0:10] = 253
    expected[:4] = 255
    np.testing.assert_array_equal(mask, expected)
    summary = json.loads((ran.folder / "summary.json").read_text())
    terms = {n: summary[n]["pixels"] for n in ("nodata", "unobserved", "failed")}
    assert terms == {"nodata": 4 * 110, "unobserved": 400 + 40, "failed": 0}
    total = sum(c["pixels"] for c in summary["classes"]) + sum(terms.values())
    assert total == summary["footprint"]["pixels"] == mask.size
    sizes = [c["size"] for c in summary["classes"]] + [summary[n]["size"] for n in terms]
    assert sum(sizes) == pytest.approx(summary["footprint"]["size"], rel=1e-9)


def test_digital_numbers_are_suspect_and_the_likely_reason_is_said(
    scene: Path, segflow: Any, tmp_path: Path
) -> None:
    bundle = card_of_reflectances(tmp_path, segflow)
    pattern = scene / "*_SR_B?.TIF"
    ran = segflow(
        "run", pattern, "--model", bundle, "--out", tmp_path / "out", "--direct", "--json", "--stored-units"
    )
    assert ran.code == 5, ran.error
    assert "look like digital numbers" in (ran.folder / "run.json").read_text()
    refused = segflow(
        "run", scene, "--model", bundle, "--bands", "B4,B3,B2,B9", "--out", tmp_path / "o", "--direct"
    )
    assert refused.code == 3
    assert "no band 'B9'" in refused.error
