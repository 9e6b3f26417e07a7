"""``segflow run`` on real images: grid, pixels, regions, areas and statistics as other libraries see them."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pyarrow.parquet as pq
import pyproj
import pytest
import rasterio
from skimage.measure import label, regionprops

NODATA = 255
BOTH = {"mask", "regions.parquet", "regions.csv", "summary.json", "report.html", "overview.png", "run.json"}


@dataclass(frozen=True)
class Case:
    """An image below ``shared/data`` and the levels to compare one of its channels with."""

    file: str
    channels: int
    channel: int
    levels: tuple[float, ...]
    ndims: tuple[int, ...] = (2,)
    steepness: float = 8.0
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def earth(self) -> bool:
        return ".nii" not in self.file


@dataclass(frozen=True)
class Result:
    """A case after its run: ``values`` is ``(channels, *native)``, ``mask`` and ``valid`` are native."""

    case: Case
    image: Path
    folder: Path
    answer: dict[str, Any]
    record: dict[str, Any]
    summary: dict[str, Any]
    regions: list[dict[str, Any]]
    mask: np.ndarray
    values: np.ndarray
    valid: np.ndarray

    @property
    def names(self) -> list[str]:
        return list(self.record["input"]["channels"])


BLENDED = {"overlap": 0.25, "blend": "gaussian", "padding": "reflect"}
EARTH = {
    "naip": Case("naip/m_4709963_se_14_1_20190904.tif", 4, 3, (60.5, 180.5), fields={"tile": (256, 256)}),
    "landsat in degrees": Case("landsat-pucallpa/2000.tif", 4, 1, (120.5,), fields=BLENDED),
    "striped uint16": Case(
        "landsat8-bands/LC80030172015001LGN00_B2.tiff",
        1,
        0,
        (0.5,),
        steepness=200,
        fields={"tile": (512, 512), "normalise": ({"kind": "zscore"},)},
    ),
    "float with holes": Case("elevation/dtm.tif", 1, 0, (12.89798, 16.3), steepness=200, fields=BLENDED),
    "nodata 0": Case("rasterio/RGB.byte.tif", 3, 1, (60.5,), fields={"tile": (256, 256), "connectivity": "face"}),
}  # fmt: skip
MEDICAL = {
    "ct": Case("ct-organs/example_ct.nii.gz", 1, 0, (-400.5, 300.5), (3,), fields=BLENDED),
    "oblique series": Case("nibabel/example4d.nii.gz", 1, 0, (400.5,), (3,), fields={"connectivity": "face"}),
    "LAS, slice by slice": Case("nibabel/anatomical.nii", 1, 0, (9000.5,), (2,), fields={"tile": (16, 16)}),
    "nifti-2": Case("nibabel/example_nifti2.nii.gz", 1, 0, (500.5,), (2, 3), fields={"tile": (8, 8, 8)}),
}


def read_earth(image: Path) -> tuple[np.ndarray, np.ndarray]:
    with rasterio.open(image) as source:
        values, valid = source.read(), source.dataset_mask() > 0
    if values.dtype.kind == "f":
        valid &= np.isfinite(values).all(axis=0)
    return values, valid


def run_case(case: Case, data: Path, segflow: Any, bundle: Path, out: Path) -> Result:
    image = data / case.file
    done = segflow.run(image, bundle, out)
    assert done.code == 0, done.error
    folder = done.folder
    if case.earth:
        values, valid = read_earth(image)
        with rasterio.open(folder / "mask.tif") as source:
            mask = source.read(1)
    else:
        values = np.asanyarray(nib.load(image).dataobj)[np.newaxis]
        valid = np.ones(values.shape[1:], bool)
        mask = np.asanyarray(nib.load(folder / "mask.nii.gz").dataobj)
    return Result(
        case=case,
        image=image,
        folder=folder,
        answer=done.answer,
        record=json.loads((folder / "run.json").read_bytes()),
        summary=json.loads((folder / "summary.json").read_bytes()),
        regions=pq.read_table(folder / "regions.parquet").to_pylist(),
        mask=mask,
        values=values,
        valid=valid,
    )


@pytest.fixture(scope="module", params=[*EARTH, *MEDICAL])
def result(
    request: pytest.FixtureRequest,
    shared_data: Path,
    segflow: Any,
    make_bundle: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Result:
    case = {**EARTH, **MEDICAL}[request.param]
    bundle = make_bundle(
        case.levels,
        channels=case.channels,
        channel=case.channel,
        ndims=case.ndims,
        steepness=case.steepness,
        **case.fields,
    )
    return run_case(case, shared_data, segflow, bundle, tmp_path_factory.mktemp("out"))


def test_leaves_what_it_promises(result: Result) -> None:
    earth = {"stac.json", "mask.qml", "mask.tif.aux.xml"}
    extra = earth if result.case.earth else {"mask.json", "mask.tsv", "mask.label", "mask.ctbl"}
    mask = "mask.tif" if result.case.earth else "mask.nii.gz"
    assert {p.name for p in result.folder.iterdir()} == (BOTH - {"mask"}) | extra | {mask}
    assert {*result.record["files"], "run.json"} == {p.name for p in result.folder.iterdir()}
    assert all(p.stat().st_size for p in result.folder.iterdir())
    answer = result.answer
    assert (answer["status"], answer["already_done"], answer["failed_tiles"]) == ("done", False, 0)
    assert answer["blocks"] == result.record["blocks"]["total"] >= 1
    assert (answer["reused_blocks"], result.record["status"]) == (0, "done")


def test_lies_on_the_grid_of_the_input(result: Result) -> None:
    if result.case.earth:
        with rasterio.open(result.image) as source, rasterio.open(result.folder / "mask.tif") as mask:
            assert tuple(mask.transform) == tuple(source.transform)
            assert mask.crs == source.crs
            assert mask.shape == source.shape
            assert (mask.count, mask.dtypes, mask.nodata) == (1, ("uint8",), NODATA)
            assert mask.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert bool(mask.overviews(1)) == (max(mask.shape) > 512)
            assert mask.colormap(1)[1] == (0x1F, 0x78, 0xB4, 255)
            assert mask.tags()["CLASS_1"] == "middle"
        return
    source, mask = nib.load(result.image), nib.load(result.folder / "mask.nii.gz")
    assert type(mask) is type(source)
    assert mask.shape == source.shape
    np.testing.assert_array_equal(mask.affine, source.affine)
    assert mask.get_data_dtype() == np.uint8
    for name in ("qform_code", "sform_code", "xyzt_units", "pixdim", "quatern_b", "quatern_c", "quatern_d",
                 "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z", "dim_info"):  # fmt: skip
        np.testing.assert_array_equal(mask.header[name], source.header[name], err_msg=name)


def expected_mask(result: Result) -> np.ndarray:
    """The levels applied by numpy alone, in double precision; margins are checked to be no matter of rounding."""
    x = result.values[result.case.channel].astype(np.float64)
    seen = x[result.valid]
    if "normalise" in result.case.fields:
        x = (x - seen.mean()) / seen.std()
    levels = result.case.levels
    margin = min(np.abs(x[result.valid] - level).min() for level in levels) * result.case.steepness
    assert margin > 2e-3, "the test's level is too close to a value"
    codes = np.digitize(x, levels)
    return np.where(result.valid, codes, NODATA)


def test_pixels_are_the_methods_arithmetic(result: Result) -> None:
    expected = expected_mask(result)
    codes, counts = np.unique(result.mask, return_counts=True)
    assert (counts > 50).all()
    assert set(codes) >= set(range(len(result.case.levels) + 1))
    np.testing.assert_array_equal(result.mask, expected)


@dataclass(frozen=True)
class Frame:
    """One 2-D or 3-D image of the input, channels last, with its place in the region order."""

    number: int
    mask: np.ndarray
    values: np.ndarray


def frames(result: Result) -> Iterator[Frame]:
    for t in range(result.mask.shape[3] if result.mask.ndim == 4 else 1):
        at = (..., t) if result.mask.ndim == 4 else (...,)
        yield Frame(t, result.mask[at], np.moveaxis(result.values[(slice(None), *at)], 0, -1).astype(float))


def raster_order(result: Result, labels: np.ndarray) -> dict[int, int]:
    """First pixel of each label in raster order: rows of an image, (z, y, x) of a volume turned to RAS."""
    if not result.case.earth:
        turn = nib.io_orientation(nib.load(result.image).affine)
        labels = nib.apply_orientation(labels, turn).transpose(2, 1, 0)
    values, first = np.unique(labels, return_index=True)
    return dict(zip(values.tolist(), first.tolist(), strict=True))


def expected_regions(result: Result) -> list[dict[str, Any]]:
    """scikit-image's components in the order that the table promises."""
    rows = []
    connectivity = 1 if result.case.fields.get("connectivity") == "face" else result.mask.ndim
    for frame in frames(result):
        for code in range(1, len(result.case.levels) + 1):
            labels = label(frame.mask == code, connectivity=min(connectivity, frame.mask.ndim))
            first = raster_order(result, labels)
            for found in regionprops(labels, intensity_image=frame.values):
                n = frame.mask.ndim
                low, high = found.bbox[:n], found.bbox[n:]
                rows.append(
                    {
                        "order": (code, frame.number, first[found.label]),
                        "code": code,
                        "frame": frame.number,
                        "pixels": int(found.num_pixels),
                        "centroid": found.centroid,
                        "low": low,
                        "high": high,
                        "means": np.atleast_1d(found.intensity_mean),
                        "border": 0 in low
                        or any(b == s for b, s in zip(high, frame.mask.shape, strict=True)),
                        "coords": found.coords,
                    }
                )
    return sorted(rows, key=lambda r: r["order"])


@pytest.fixture(scope="module")
def expected(result: Result) -> list[dict[str, Any]]:
    return expected_regions(result)


def test_regions_are_those_of_scikit_image(result: Result, expected: list[dict[str, Any]]) -> None:
    axes = "yx" if result.case.earth else "ijk"
    names = ("low", "middle", "high")
    assert len(result.regions) == len(expected)
    for number, (row, want) in enumerate(zip(result.regions, expected, strict=True), 1):
        assert (row["id"], row["code"], row["class"]) == (number, want["code"], names[want["code"]])
        assert row.get("frame", 0) == want["frame"]
        assert row["pixels"] == want["pixels"]
        assert tuple(row[f"bbox_{a}0"] for a in axes) == want["low"]
        assert tuple(row[f"bbox_{a}1"] for a in axes) == want["high"]
        assert row["touches_border"] == want["border"]
        assert 0 < row["mean_confidence"] <= 1
    for column, values in {
        **{f"centroid_{a}": [w["centroid"][i] for w in expected] for i, a in enumerate(axes)},
        **{f"mean_{name}": [w["means"][i] for w in expected] for i, name in enumerate(result.names)},
    }.items():
        np.testing.assert_allclose([r[column] for r in result.regions], values, rtol=1e-9, atol=1e-9)


def test_csv_is_the_same_table(result: Result) -> None:
    with (result.folder / "regions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(result.regions)
    for text, row in zip(rows, result.regions, strict=True):
        assert set(text) == set(row) - {"geometry"}
        for name, value in text.items():
            if isinstance(row[name], float):
                assert float(value) == row[name]
            else:
                assert value == (str(row[name]).lower() if isinstance(row[name], bool) else str(row[name]))


def utm_areas(image: Path) -> np.ndarray:
    """Pixel area over PROJ's own areal scale at the pixel's centre."""
    with rasterio.open(image) as source:
        t, crs = source.transform, pyproj.CRS.from_wkt(source.crs.to_wkt())
        cols, rows = np.meshgrid(np.arange(source.width) + 0.5, np.arange(source.height) + 0.5)
    x, y = t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f
    projection = pyproj.Proj(crs)
    lon, lat = projection(x, y, inverse=True)
    return abs(t.determinant) / projection.get_factors(lon, lat).areal_scale


def degree_areas(image: Path) -> np.ndarray:
    """Geodesic polygons: one a row, its parallels followed pixel by pixel."""
    geod = pyproj.Geod(ellps="WGS84")
    with rasterio.open(image) as source:
        t, (height, width) = source.transform, source.shape
    lon = t.c + t.a * np.arange(width + 1)
    rows = np.empty(height)
    for i in range(height):
        top, bottom = np.full(width + 1, t.f + t.e * i), np.full(width + 1, t.f + t.e * (i + 1))
        area, _ = geod.polygon_area_perimeter(np.r_[lon, lon[::-1]], np.r_[top, bottom])
        rows[i] = abs(area) / width
    return np.broadcast_to(rows[:, None], (height, width))


def true_sizes(result: Result) -> np.ndarray | float:
    if result.case.earth:
        degrees = result.case.file.startswith("landsat-pucallpa")
        return degree_areas(result.image) if degrees else utm_areas(result.image)
    return float(np.prod(nib.affines.voxel_sizes(nib.load(result.image).affine)))


def test_sizes_are_true(result: Result, expected: list[dict[str, Any]]) -> None:
    sizes = true_sizes(result)
    column = "area_m2" if result.case.earth else "volume_mm3"
    if result.case.earth:
        want = [sizes[tuple(w["coords"].T)].sum() for w in expected]
    else:
        want = [w["pixels"] * sizes for w in expected]
        np.testing.assert_allclose([r["volume_ml"] * 1000 for r in result.regions], want, rtol=1e-6)
    np.testing.assert_allclose([r[column] for r in result.regions], want, rtol=1e-6)
    everything = np.broadcast_to(sizes, result.mask.shape)
    for item in result.summary["classes"]:
        assert item["size"] == pytest.approx(everything[result.mask == item["code"]].sum(), rel=1e-6)
    assert result.summary["nodata"]["size"] == pytest.approx(
        everything[result.mask == NODATA].sum(), rel=1e-6
    )


def test_places_are_true(result: Result, expected: list[dict[str, Any]]) -> None:
    centres = np.array([w["centroid"] for w in expected])
    if not result.case.earth:
        world = nib.affines.apply_affine(nib.load(result.image).affine, centres)
        for i, name in enumerate("xyz"):
            np.testing.assert_allclose([r[f"world_{name}"] for r in result.regions], world[:, i], atol=1e-6)
        return
    with rasterio.open(result.image) as source:
        a, b, c, d, e, f = source.transform[:6]
        row, col = centres.T + 0.5
        x, y = a * col + b * row + c, d * col + e * row + f
        crs = pyproj.CRS.from_wkt(source.crs.to_wkt())
    lon, lat = pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True).transform(x, y)
    np.testing.assert_allclose([r["lon"] for r in result.regions], lon, atol=1e-9)
    np.testing.assert_allclose([r["lat"] for r in result.regions], lat, atol=1e-9)
    for r in result.regions:
        assert r["west"] < r["lon"] < r["east"]
        assert r["south"] < r["lat"] < r["north"]


def test_terms_add_up_to_the_footprint(result: Result) -> None:
    s = result.summary
    terms = [*s["classes"], s["nodata"], s["unobserved"], s["failed"]]
    assert sum(t["pixels"] for t in terms) == s["footprint"]["pixels"] == result.mask.size
    assert math.fsum(t["size"] for t in terms) == pytest.approx(s["footprint"]["size"], rel=1e-9)
    for term in s["classes"]:
        assert term["pixels"] == (result.mask == term["code"]).sum()
        own = [r for r in result.regions if r["code"] == term["code"]]
        if term["regions"] is not None:
            assert term["regions"] == len(own)
            column = "area_m2" if result.case.earth else "volume_mm3"
            assert math.fsum(r[column] for r in own) == pytest.approx(term["size"], rel=1e-9)
    assert s["nodata"]["pixels"] == (~result.valid).sum()
    assert s["units"]["size"] == ("m2" if result.case.earth else "mm3")
    assert math.fsum(c["share"] for c in s["classes"]) == pytest.approx(1, rel=1e-12)


def test_statistics_are_those_of_numpy(result: Result) -> None:
    for channel, have in enumerate(result.record["statistics"]):
        x = result.values[channel][result.valid].astype(np.float64)
        exact = result.values.dtype.kind in "iu" and result.values.dtype.itemsize <= 2
        assert (have["valid"], have["minimum"], have["maximum"]) == (x.size, x.min(), x.max())
        assert have["mean"] == pytest.approx(x.mean(), rel=1e-12)
        assert have["std"] == pytest.approx(x.std(), rel=1e-9)
        for name, q in (("p2", 2), ("p98", 98)):
            want = np.percentile(x, q, method="inverted_cdf")
            assert have[name] == (want if exact else pytest.approx(want, rel=1e-3)), name


def test_record_names_the_input_and_the_bundle(result: Result) -> None:
    digest = hashlib.sha256(result.image.read_bytes()).hexdigest()
    assert result.record["input"]["digest"] == f"sha256:{digest}"
    assert result.record["input"]["path"] == str(result.image.resolve())
    assert result.record["input"]["size"] == result.image.stat().st_size
    assert result.record["bundle"]["name"] == "levels"
    assert result.record["parameters_digest"].startswith("sha256:")
    assert result.record["engine"]["name"] == "method"
    if result.case.earth:
        with rasterio.open(result.folder / "mask.tif") as mask:
            assert mask.tags()["SEGFLOW_INPUT"] == f"sha256:{digest}"
            assert result.record["bundle"]["digest"] in mask.tags()["SEGFLOW_BUNDLE"]
            assert mask.tags()["SEGFLOW_PARAMETERS"] == result.record["parameters_digest"]
