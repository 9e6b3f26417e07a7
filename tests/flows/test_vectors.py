"""Polygons of whole runs: asked for at once or later, kept with the record, refused where they cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import geopandas
import nibabel as nib
import numpy as np
import pyarrow.parquet as pq
import pystac
import pytest
import rasterio
from rich.console import Console

from flows.commands.polygons import make
from flows.commands.run import execute
from flows.pipeline import RunResult
from tasks.errors import InputError, UsageError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(image: Path, model: Path, out: Path, **options: object) -> RunResult:
    return execute(
        Console(quiet=True), direct=True, debug=False, image=image, model=str(model), out=out, **options
    )


def write_scene(path: Path, *, crs: str | None = "EPSG:32633") -> Path:
    values = np.random.default_rng(0).integers(1, 200, (70, 90)).astype(np.uint8)
    values[20:50, 20:60] += 55
    profile = {"driver": "GTiff", "height": 70, "width": 90, "count": 1, "dtype": "uint8", "nodata": 0}
    transform = rasterio.Affine(10, 0, 300_000, 0, -10, 5_600_000)
    with rasterio.open(path, "w", crs=crs, transform=transform, **profile) as file:
        file.write(values, 1)
    return path


def files_are_there(folder: Path) -> dict[str, object]:
    record = json.loads((folder / "run.json").read_text())
    listed = {name: (folder / name).stat().st_size for name in record["files"]}
    assert listed == record["files"]
    assert {p.name for p in folder.iterdir()} == {*listed, "run.json"}
    return dict(record)


def test_polygons_at_once_later_and_replaced(tmp_path: Path, make_bundle: Callable[..., Path]) -> None:
    scene, model, out = write_scene(tmp_path / "a.tif"), make_bundle((120.0,)), tmp_path / "out"
    first = run(scene, model, out, vectors=["gpkg"])
    record = files_are_there(first.out)
    table = pq.read_table(first.out / "regions.parquet").to_pandas()
    frame = geopandas.read_file(first.out / "regions.gpkg")
    for column in ("id", "code", "pixels", "area_m2", "mean_confidence"):
        np.testing.assert_array_equal(frame[column], table[column])
    np.testing.assert_array_equal(frame.geometry.area, frame["pixels"] * 100)
    assert record["vectors"]["gpkg"]["polygons"] == len(table)
    item = pystac.Item.from_file(str(first.out / "stac.json"))
    assert item.assets["polygons-gpkg"].href.endswith("regions.gpkg")

    mask = (first.out / "mask.tif").read_bytes()
    assert run(scene, model, out, vectors=["gpkg"]).already_done
    later = run(scene, model, out, vectors=["gpkg", "geojson"], simplify=1.0)
    assert not later.already_done
    assert later.reused_blocks == later.blocks
    record = files_are_there(first.out)
    assert record["vectors"]["gpkg"]["simplify"] == record["vectors"]["geojson"]["simplify"] == 1
    simple = geopandas.read_file(first.out / "regions.gpkg")
    assert simple.geometry.count_coordinates().sum() < frame.geometry.count_coordinates().sum()
    assert (first.out / "mask.tif").read_bytes() == mask
    item = pystac.Item.from_file(str(first.out / "stac.json"))
    size = (first.out / "regions.gpkg").stat().st_size
    assert item.assets["polygons-gpkg"].extra_fields["file:size"] == size
    # Asked for without, they stay; computed again without, they go.
    assert run(scene, model, out).already_done
    run(scene, model, out, force=True)
    assert "vectors" not in files_are_there(first.out)

    answer = make(
        first.out / "mask.tif", [tmp_path / "p.parquet"], codes=None, connectivity=None, simplify=0, min_size=1,
        force=False,
    )  # fmt: skip
    assert answer["polygons"] == len(table)
    np.testing.assert_allclose(pq.read_table(tmp_path / "p.parquet")["area_m2"], table["area_m2"], rtol=1e-12)


def test_refused_before_anything_is_computed(tmp_path: Path, make_bundle: Callable[..., Path]) -> None:
    volume = tmp_path / "v.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((8, 8, 8), np.int16), np.eye(4)), volume)
    with pytest.raises(InputError, match="is a volume and polygons are made of rasters alone"):
        run(volume, make_bundle(ndims=(3,)), tmp_path / "out", vectors=["gpkg"])
    with pytest.raises(UsageError, match="has no CRS"):
        run(write_scene(tmp_path / "a.tif", crs=None), make_bundle(), tmp_path / "out", vectors=["geojson"])
    assert not list((tmp_path / "out").glob("[av]*"))
