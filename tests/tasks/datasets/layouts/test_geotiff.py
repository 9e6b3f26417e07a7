"""GeoTIFFs with masks, and with vector labels."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
from rasterio.features import rasterize
from shapely.geometry import Polygon, box

from tasks.datasets.dataset import IGNORE
from tasks.datasets.open import open_dataset
from tasks.datasets.pair import open_pair
from tasks.errors import InputError
from tests.tasks.datasets.conftest import NORTH_UP, save, write_json
from tests.tasks.datasets.layouts.conftest import assert_windows_agree, whole

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def test_geotiff_with_masks_keeps_spacing_and_nodata(tmp_path: Path, rng: np.random.Generator) -> None:
    values = rng.integers(1, 256, (18, 13, 4)).astype(np.uint8)
    values[2, 3] = 0
    save(tmp_path / "images/a.tif", values, nodata=0)
    mask = rng.integers(0, 2, (18, 13)).astype(np.uint8)
    mask[9, 9] = 255
    save(tmp_path / "masks/a.tif", mask)
    write_json(
        tmp_path / "dataset.json",
        {"layout": "geotiff", "classes": [{"name": "land"}, {"name": "water"}], "ignore": [255]},
    )
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, len(dataset.channels)) == ("geotiff", 4)
    _, truth = whole(dataset, "a", tmp_path)
    expected = mask.astype(int)
    expected[2, 3] = expected[9, 9] = IGNORE
    np.testing.assert_array_equal(truth, expected)
    pair = open_pair(dataset, dataset.items[0], scratch=tmp_path)
    assert pair.spacing == (2.0, 2.0)
    assert not pair.valid((slice(2, 3), slice(3, 4))).any()
    pair.close()
    assert_windows_agree(dataset, "a", tmp_path)


@pytest.mark.parametrize(
    ("suffix", "crs"), [("gpkg", "EPSG:32632"), ("geojson", "EPSG:4326"), ("shp", "EPSG:3857")]
)
def test_vector_labels_are_burned_on_the_images_grid(tmp_path: Path, suffix: str, crs: str) -> None:
    save(tmp_path / "images/a.tif", np.ones((40, 30), np.uint8))
    x, y = NORTH_UP.c, NORTH_UP.f
    shapes = [
        box(x + 5.3, y - 41.7, x + 33.6, y - 11.4),
        Polygon([(x + 20, y - 70), (x + 55, y - 60), (x + 31, y - 20)]),
    ]
    frame = geopandas.GeoDataFrame({"use": ["meadow", "lake"]}, geometry=shapes, crs="EPSG:32632")
    (tmp_path / "labels").mkdir()
    frame.to_crs(crs).to_file(tmp_path / f"labels/a.{suffix}")
    classes = [
        {"name": "other"},
        {"name": "green", "values": ["meadow", "forest"]},
        {"name": "blue", "values": ["lake"]},
    ]
    write_json(tmp_path / "dataset.json", {"attribute": "use", "classes": classes})
    dataset = open_dataset(tmp_path)
    _, truth = whole(dataset, "a", tmp_path)
    expected = rasterize([(shapes[0], 1), (shapes[1], 2)], out_shape=(40, 30), transform=NORTH_UP)
    assert set(np.unique(expected)) == {0, 1, 2}
    np.testing.assert_array_equal(truth, expected)
    assert_windows_agree(dataset, "a", tmp_path)


def test_one_vector_file_for_all_and_unknown_attribute_values(tmp_path: Path) -> None:
    save(tmp_path / "images/a.tif", np.ones((10, 10), np.uint8))
    shape = box(NORTH_UP.c, NORTH_UP.f - 10, NORTH_UP.c + 10, NORTH_UP.f)
    frame = geopandas.GeoDataFrame({"use": ["swamp"]}, geometry=[shape], crs="EPSG:32632")
    frame.to_file(tmp_path / "all.gpkg")
    classes = [{"name": "other"}, {"name": "lake"}]
    write_json(tmp_path / "dataset.json", {"labels": "all.gpkg", "attribute": "use", "classes": classes})
    dataset = open_dataset(tmp_path)
    with pytest.raises(InputError, match=r"all\.gpkg: attribute use is 'swamp', which no class lists"):
        whole(dataset, "a", tmp_path)
    write_json(tmp_path / "dataset.json", {"labels": "all.gpkg", "classes": classes, "outside": "ignore"})
    _, truth = whole(open_dataset(tmp_path), "a", tmp_path)
    expected = np.full((10, 10), IGNORE)
    expected[:5, :5] = 1
    np.testing.assert_array_equal(truth, expected)
