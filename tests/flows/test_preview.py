"""``segflow run --window`` and ``--aoi`` on real images: the full run's pixels, at their place."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import nibabel as nib
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from rasterio.features import geometry_mask
from rasterio.windows import Window

NAIP = "naip/m_4709963_se_14_1_20190904.tif"
ITEM = Path(NAIP).stem
CT = "ct-organs/example_ct.nii.gz"
BLENDED = {"overlap": 0.25, "blend": "gaussian"}


@dataclass(frozen=True)
class Full:
    image: Path
    bundle: Path
    out: Path
    folder: Path


@pytest.fixture(scope="module")
def naip(
    shared_data: Path,
    segflow: Any,
    make_bundle: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Full:
    bundle = make_bundle((60.5, 180.5), channels=4, channel=3, tile=(128, 128), **BLENDED)
    out = tmp_path_factory.mktemp("naip")
    done = segflow.run(shared_data / NAIP, bundle, out)
    assert done.code == 0, done.error
    return Full(shared_data / NAIP, bundle, out, done.folder)


@pytest.fixture(scope="module")
def ct(
    shared_data: Path,
    segflow: Any,
    make_bundle: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Full:
    bundle = make_bundle((-400.5, 300.5), ndims=(3,), **BLENDED)
    out = tmp_path_factory.mktemp("ct")
    done = segflow.run(shared_data / CT, bundle, out)
    assert done.code == 0, done.error
    return Full(shared_data / CT, bundle, out, done.folder)


def record(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "run.json").read_bytes()))


def test_a_window_is_an_item_of_its_own_at_its_place(naip: Full, segflow: Any) -> None:
    done = segflow.run(naip.image, naip.bundle, naip.out, "--window", "100:412,200:713", "--block", 300)
    assert done.code == 0, done.error
    assert done.folder.name == f"{ITEM}.window-100-412_200-713"
    with rasterio.open(naip.folder / "mask.tif") as full, rasterio.open(done.folder / "mask.tif") as part:
        window = Window(200, 100, 513, 312)
        assert part.transform == full.window_transform(window)
        assert (part.crs, part.shape) == (full.crs, (312, 513))
        np.testing.assert_array_equal(part.read(1), full.read(1, window=window))
        west, south, east, north = part.bounds
    preview = record(done.folder)["preview"]
    assert preview["window"] == {"rows": [100, 412], "columns": [200, 713]}
    assert preview["share"] == pytest.approx(312 * 513 / (723 * 934))
    assert preview["tiles"] < preview["tiles_full"]
    assert preview["estimated_full_seconds"] > 0
    assert preview["sentence"] in done.answer["warnings"]
    assert preview["sentence"] in (done.folder / "report.html").read_text()
    summary = json.loads((done.folder / "summary.json").read_bytes())
    assert summary["footprint"]["pixels"] == 312 * 513
    stac = json.loads((done.folder / "stac.json").read_bytes())
    assert stac["properties"]["proj:shape"] == [312, 513]
    regions = geopandas.read_parquet(done.folder / "regions.parquet").to_crs(part.crs)
    assert regions.within(shapely.box(west - 1, south - 1, east + 1, north + 1)).all()
    assert record(naip.folder)["preview"] is None
    again = segflow.run(naip.image, naip.bundle, naip.out, "--window", "100:412, 200:713")
    assert again.answer["already_done"]


def test_a_polygon_in_degrees(naip: Full, segflow: Any, tmp_path: Path) -> None:
    with rasterio.open(naip.image) as source:
        x, y = source.transform @ (500, 300)
        grid = source.transform
        crs = source.crs
    area = shapely.Point(x, y).buffer(900).difference(shapely.Point(x + 100, y).buffer(300))
    frame = geopandas.GeoDataFrame(geometry=[area], crs=crs).to_crs(4326)
    frame.to_file(tmp_path / "area.geojson", driver="GeoJSON")
    done = segflow.run(naip.image, naip.bundle, naip.out, "--aoi", tmp_path / "area.geojson")
    assert done.code == 0, done.error
    assert done.folder.name.startswith(f"{ITEM}.aoi-")
    preview = record(done.folder)["preview"]
    (r0, r1), (c0, c1) = preview["window"]["rows"], preview["window"]["columns"]
    with rasterio.open(naip.folder / "mask.tif") as full, rasterio.open(done.folder / "mask.tif") as part:
        inside = geometry_mask(frame.segmentize(1e-5).to_crs(crs).geometry, full.shape, grid, invert=True)
        expected = np.where(inside, full.read(1), 255)[r0:r1, c0:c1]
        np.testing.assert_array_equal(part.read(1), expected)
    summary = json.loads((done.folder / "summary.json").read_bytes())
    assert summary["nodata"]["pixels"] == (expected == 255).sum()
    moved = tmp_path / "elsewhere.geojson"
    (tmp_path / "area.geojson").rename(moved)
    assert segflow.run(naip.image, naip.bundle, naip.out, "--aoi", moved).answer["already_done"]


@pytest.mark.parametrize("kind", ["voxels", "world", "mask"])
def test_a_part_of_a_volume_lies_where_nibabel_slices_it(
    ct: Full, segflow: Any, tmp_path: Path, kind: str
) -> None:
    full = nib.load(ct.folder / "mask.nii.gz")
    box = (slice(20, 71), slice(33, 80), slice(5, 60))
    counts = np.zeros(full.shape, np.uint8)
    counts[box] = 1
    if kind == "voxels":
        options = ["--window", "20:71,33:80,5:60"]
    elif kind == "world":
        ends = [full.affine @ [*v, 1] for v in ((20, 33, 5), (70, 79, 59))]
        low, high = np.sort(np.array(ends)[:, :3], axis=0)
        options = ["--window", "world:" + ",".join(f"{v:.6f}" for v in (*low, *high))]
    else:
        counts[40:50, 40:50] = 0
        nib.save(nib.Nifti1Image(counts, nib.load(ct.image).affine), tmp_path / "aoi.nii.gz")
        options = ["--aoi", tmp_path / "aoi.nii.gz"]
    done = segflow.run(ct.image, ct.bundle, ct.out, *options)
    assert done.code == 0, done.error
    part, sliced = nib.load(done.folder / "mask.nii.gz"), full.slicer[box]
    expected = np.where(counts[box] > 0, np.asanyarray(sliced.dataobj), 255)
    np.testing.assert_array_equal(part.dataobj, expected)
    np.testing.assert_allclose(part.affine, sliced.affine, atol=1e-4)
    assert nib.aff2axcodes(part.affine) == nib.aff2axcodes(full.affine)
    assert record(done.folder)["preview"]["window"] == {"i": [20, 71], "j": [33, 80], "k": [5, 60]}
    places = pq.read_table(done.folder / "regions.parquet").to_pandas()
    corners = np.array(np.meshgrid(*((0, n - 1) for n in sliced.shape))).reshape(3, -1)
    ends = nib.affines.apply_affine(sliced.affine, corners.T)
    for i, name in enumerate("xyz"):
        assert places[f"world_{name}"].between(ends[:, i].min() - 1e-3, ends[:, i].max() + 1e-3).all()


def test_a_preview_never_replaces_the_whole(naip: Full, segflow: Any) -> None:
    before = (naip.folder / "run.json").read_bytes()
    refused = segflow.run(naip.image, naip.bundle, naip.out, "--window", "0:99,0:99", "--item", ITEM)
    assert refused.code == 3
    assert "--item" in refused.error
    assert (naip.folder / "run.json").read_bytes() == before
    named = segflow.run(naip.image, naip.bundle, naip.out, "--window", "0:99,0:99", "--item", "corner")
    assert (named.code, named.folder.name) == (0, "corner")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--window", "5000:5010,0:10"], 3, "rows 0:723, columns 0:934"),
        (["--window", "world:0,0,10,10"], 3, "x 485899 to 490569"),
        (["--window", "wgs84:170,0,-170,10"], 2, "antimeridian"),
        (["--window", "somewhere"], 2, "100:612,200:712"),
        (["--window", "0:9,0:9", "--aoi", "a.geojson"], 2, "give one of them"),
        (["--aoi", "nowhere.geojson"], 2, "nowhere.geojson"),
    ],
)
def test_refusals_are_one_sentence_and_leave_nothing(
    naip: Full, segflow: Any, tmp_path: Path, options: list[str], code: int, words: str
) -> None:
    done = segflow("run", naip.image, "--model", naip.bundle, "--out", tmp_path / "out", "--direct", *options)
    assert done.code == code
    assert words in " ".join(done.error.split())
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file() and not p.name.startswith("owner.")]


@pytest.mark.slow
def test_the_flow_takes_the_same_parameters(naip: Full, fresh_segflow: Any, tmp_path: Path) -> None:
    done = fresh_segflow(
        "run", naip.image, "--model", naip.bundle, "--out", tmp_path, "--json", "--window", "100:412,200:713"
    )
    assert done.code == 0, done.error
    plain = fresh_segflow.run(naip.image, naip.bundle, tmp_path / "direct", "--window", "100:412,200:713")
    assert plain.code == 0, plain.error
    direct = plain.folder / "mask.tif"
    served = tmp_path / f"{ITEM}.window-100-412_200-713" / "mask.tif"
    assert served.read_bytes() == direct.read_bytes()
