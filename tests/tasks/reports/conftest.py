"""Two small but realistic results: a coastal scene with a mask and regions, and a head-like volume."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import rasterio
from rasterio.transform import from_origin
from scipy import ndimage
from skimage.measure import label, regionprops_table

from tasks.imagery.protocol import GdalFile, ImageInfo, Pixels, Window
from tasks.imagery.source import Source

CLASSES_EARTH = [
    {"name": "ocean", "code": 0, "colour": "#2b5c8a", "region": False},
    {"name": "land", "code": 1, "colour": "#d9a441", "region": True},
    {"name": "lake", "code": 2, "colour": "#35b0c9", "region": True},
]
CLASSES_BRAIN = [
    {"name": "background", "code": 0, "colour": "#000000", "region": False},
    {"name": "grey matter", "code": 1, "colour": "#d1495b", "region": True},
    {"name": "white matter", "code": 2, "colour": "#edae49", "region": True},
]


@dataclass(frozen=True)
class ArrayImage:
    """An image that lies in memory, seen as the steps see it."""

    info: ImageInfo
    values: npt.NDArray[Any]

    def read(self, window: Window) -> Pixels:
        values = self.values[window]
        return Pixels(values, np.isfinite(values).all(-1))

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Sample:
    directory: Path
    image: ArrayImage
    codes: npt.NDArray[np.uint8]
    record: dict[str, Any]
    summary: dict[str, Any]
    regions: pa.Table


def make_record(
    info: ImageInfo, classes: list[dict[str, Any]], statistics: list[dict[str, Any]]
) -> dict[str, Any]:
    grid = json.loads(json.dumps(info.grid))
    return {
        "segflow": "0.1.0",
        "result_version": 1,
        "status": "done",
        "item": info.source.name,
        "input": {
            "path": f"archive/{info.source.local.name}",
            "digest": "sha256:" + "3f" * 32,
            "size": 4_312_087,
            "format": info.format,
            "field": info.field,
            "shape": list(info.shape),
            "axes": list(info.axes),
            "dtype": info.dtype,
            "channels": list(info.channels),
            "grid": grid,
            "nodata": info.nodata,
            "notes": [],
        },
        "bundle": {
            "name": "earth-water" if info.field == "earth" else "brain-tissue",
            "version": "1",
            "digest": "sha256:" + "a7" * 32,
            "description": "A small U-Net.",
            "licence": "Apache-2.0",
            "classes": classes,
            "scores": {
                "iou_land": 0.984,
                "iou_lake": 0.41,
                "scored_on": "eastern hemisphere, never seen in training",
            },
        },
        "parameters": {
            "tile": [256, 256] if info.field == "earth" else [64, 64, 64],
            "overlap": [64, 64] if info.field == "earth" else [16, 16, 16],
            "block": [4, 4] if info.field == "earth" else [2, 2, 2],
            "blend": "gaussian",
            "padding": "reflect",
            "connectivity": "full",
        },
        "parameters_digest": "sha256:" + "5c" * 32,
        "plan": {"tiles": 48, "blocks": 6, "peak_memory_bytes": 731_906_048, "disk_bytes": 21_000_000},
        "engine": {"name": "openvino", "precision": "fp32", "library": "openvino 2026.4.1"},
        "statistics": statistics,
        "timings": {"plan": 1.4, "segment": 21.7, "stitch": 0.9, "regions": 2.2, "report": 1.1},
        "blocks": {"total": 6, "computed": 4, "reused": 2},
        "seams": make_seams(info),
        "failed_tiles": [],
        "warnings": [],
        "command": f"segflow run archive/{info.source.name} --model earth-water --out results",
        "started": "2026-03-04T10:11:12Z",
        "finished": "2026-03-04T10:11:40Z",
        "machine": {"python": "3.11.7", "platform": "Linux-x86_64"},
    }


def make_seams(info: ImageInfo) -> dict[str, Any]:
    """Every axis with 1,200 pixels of which 6 got another class, all of them in the worst pair."""
    found = {"pairs": 8, "pixels": 1200, "other_class": 0.005, "difference": 0.0123}
    worst = {"pairs": 1, "pixels": 150, "other_class": 0.04, "difference": 0.09}
    ndim = len(info.shape)
    place = {"tiles": [[0] * ndim, [0] * (ndim - 1) + [1]], "low": [0] * ndim, "high": [64] * ndim}
    return {
        **found,
        "pairs": 8 * ndim,
        "pixels": 1200 * ndim,
        "limits": {"other_class": 0.03, "difference": 0.05},
        "axes": [{"axis": a, **found, "worst": place | worst} for a in info.axes],
    }


def make_statistics(
    values: npt.NDArray[Any], valid: npt.NDArray[np.bool_], names: tuple[str, ...]
) -> list[dict[str, Any]]:
    out = []
    for i, name in enumerate(names):
        v = values[..., i][valid].astype(float)
        p2, p98 = np.percentile(v, (2, 98))
        numbers = {
            "minimum": v.min(),
            "maximum": v.max(),
            "mean": v.mean(),
            "std": v.std(),
            "p2": p2,
            "p98": p98,
        }
        out.append({"channel": name, "valid": int(valid.sum())} | {k: float(x) for k, x in numbers.items()})
    return out


def make_summary(
    codes: npt.NDArray[np.uint8], classes: list[dict[str, Any]], regions: pa.Table, *, unit: str, size: float
) -> dict[str, Any]:
    counts = {c: int((codes == c).sum()) for c in (*range(3), 253, 254, 255)}
    valid = counts[0] + counts[1] + counts[2]
    found = regions["code"].to_pylist()
    rows = []
    for c in classes:
        n = counts[c["code"]]
        row = {k: c[k] for k in ("code", "name", "colour")}
        number = found.count(c["code"]) if c["region"] else None
        rows.append(row | {"pixels": n, "size": n * size, "share": n / valid, "regions": number})
    terms = {
        name: {"pixels": counts[code], "size": counts[code] * size}
        for name, code in (("nodata", 255), ("failed", 254), ("unobserved", 253))
    }
    whole = {"pixels": codes.size, "size": codes.size * size}
    return {"units": {"size": unit}, "classes": rows, **terms, "footprint": whole}


@pytest.fixture(scope="session")
def earth(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A coast with lakes at 30 m in UTM, with nodata, a failed tile and a cloud."""
    directory = tmp_path_factory.mktemp("earth")
    rng = np.random.default_rng(7)
    height, width = 700, 934
    relief = ndimage.gaussian_filter(rng.normal(size=(height, width)), 40)
    relief = relief / relief.std() + np.linspace(-1.3, 1.5, width)[None]
    land = relief > 0
    fine = ndimage.gaussian_filter(rng.normal(size=(height, width)), 9)
    lake = land & (fine / fine.std() > 1.9) & (relief > 0.4)
    codes = np.where(lake, 2, np.where(land, 1, 0)).astype(np.uint8)
    texture = ndimage.gaussian_filter(rng.normal(size=(height, width)), 1.2) * 30
    red = np.where(lake, 30, np.where(land, 105 + 22 * relief, 16)) + texture
    green = np.where(lake, 62, np.where(land, 118 + 8 * relief, 40)) + texture
    blue = np.where(lake, 88, np.where(land, 72 + 14 * relief, 92)) + texture * 0.7
    nir = np.where(land & ~lake, 160, 12) + texture
    values = np.clip(np.stack([red, green, blue, nir], -1), 1, 255).astype(np.uint8)
    codes[:, :40] = 255
    values[:, :40] = 0
    codes[500:620, 600:720] = 254
    y, x = np.indices(codes.shape)
    codes[(y - 150) ** 2 + ((x - 700) / 1.6) ** 2 < 60**2] = 253
    transform = from_origin(500_000, 5_300_000, 30, 30)
    path = directory / "coast_20190704.tif"
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "crs": "EPSG:32614",
        "transform": transform,
    }
    with rasterio.open(path, "w", count=4, dtype="uint8", nodata=0, tiled=True, **profile) as file:
        file.write(np.moveaxis(values, -1, 0))
    with rasterio.open(
        directory / "mask.tif", "w", count=1, dtype="uint8", nodata=255, tiled=True, **profile
    ) as file:
        file.write(codes, 1)
        wkt = file.crs.to_wkt()
    info = ImageInfo(
        source=Source.of(path), format="geotiff", kind="raster", gdal=GdalFile(str(path), "GTiff", (1, 2, 3, 4)), field="earth", shape=(height, width), axes=("y", "x"),
        channels=("red", "green", "blue", "nir"), dtype="uint8", wraps=(False, False), chunk=(256, 256),
        nodata=0.0, grid={"crs": wkt, "transform": list(transform)[:6]},
    )  # fmt: skip
    regions = _earth_regions(codes, values, info)
    record = make_record(info, CLASSES_EARTH, make_statistics(values, codes != 255, info.channels))
    summary = make_summary(codes, CLASSES_EARTH, regions, unit="m2", size=900.0)
    return Sample(directory, ArrayImage(info, values), codes, record, summary, regions)


def _earth_regions(codes: npt.NDArray[np.uint8], values: npt.NDArray[np.uint8], info: ImageInfo) -> pa.Table:
    from pyproj import Transformer

    to_lonlat = Transformer.from_crs("EPSG:32614", "OGC:CRS84", always_xy=True)
    rows: list[dict[str, Any]] = []
    rng = np.random.default_rng(3)
    for c in CLASSES_EARTH[1:]:
        props = regionprops_table(
            label(codes == c["code"], connectivity=2),
            values,
            properties=("num_pixels", "centroid", "bbox", "intensity_mean"),
        )
        for i, n in enumerate(props["num_pixels"]):
            cy, cx = props["centroid-0"][i], props["centroid-1"][i]
            lon, lat = to_lonlat.transform(500_000 + 30 * (cx + 0.5), 5_300_000 - 30 * (cy + 0.5))
            y0, x0, y1, x1 = (int(props[f"bbox-{k}"][i]) for k in range(4))
            row = {
                "id": len(rows) + 1,
                "class": c["name"],
                "code": c["code"],
                "pixels": int(n),
                "area_m2": 900.0 * n,
            }
            row |= {"lon": lon, "lat": lat, "centroid_y": cy, "centroid_x": cx}
            row |= {"bbox_y0": y0, "bbox_x0": x0, "bbox_y1": y1, "bbox_x1": x1}
            row |= {"west": lon - 0.01, "south": lat - 0.01, "east": lon + 0.01, "north": lat + 0.01}
            row |= {
                f"mean_{name}": float(props[f"intensity_mean-{k}"][i]) for k, name in enumerate(info.channels)
            }
            row |= {
                "mean_confidence": float(rng.uniform(0.7, 1)),
                "touches_border": y0 == 0 or x0 == 0 or y1 == codes.shape[0] or x1 == codes.shape[1],
            }
            rows.append(row)
    return pa.Table.from_pylist(rows)


@pytest.fixture(scope="session")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A head-like volume, stored as left, posterior, inferior, with voxels of 1 × 1.5 × 3 mm."""
    directory = tmp_path_factory.mktemp("brain")
    nz, ny, nx = 44, 110, 140
    z, y, x = np.indices((nz, ny, nx)).astype(float)
    r = np.sqrt(((z - 21) / 19) ** 2 + ((y - 55) / 48) ** 2 + ((x - 69) / 56) ** 2)
    wave = 0.05 * np.sin(9 * np.arctan2(y - 55, x - 69)) + 0.03 * np.sin(z / 2)
    codes = np.select([r < 0.55 + wave, r < 0.78 + wave], [2, 1], 0).astype(np.uint8)
    # A mark at the patient's right, front and top: it shows where each picture puts them.
    codes[38:42, 100:106, 128:136] = 1
    noise = np.random.default_rng(1).normal(scale=12, size=codes.shape)
    values = (np.array([8, 420, 640])[codes] + np.where((r > 0.9) & (r < 1.0), 300, 0) + noise).astype(
        np.int16
    )
    affine = np.array([[-1.0, 0, 0, 70], [0, -1.5, 0, 80], [0, 0, -3.0, 66], [0, 0, 0, 1]])
    native = np.ascontiguousarray(values.transpose(2, 1, 0)[::-1, ::-1, ::-1])
    path = directory / "head.nii.gz"
    nib.save(nib.Nifti1Image(native, affine), path)
    mask = np.ascontiguousarray(codes.transpose(2, 1, 0)[::-1, ::-1, ::-1])
    nib.save(nib.Nifti1Image(mask, affine), directory / "mask.nii.gz")
    info = ImageInfo(
        source=Source.of(path), format="nifti", kind="volume", field="medical", shape=(nz, ny, nx), axes=("z", "y", "x"),
        channels=("T1",), dtype="int16", wraps=(False,) * 3, chunk=(1, ny, nx), nodata=None,
        grid={"affine": affine.tolist(), "native_shape": [nx, ny, nz], "orientation": "LPI",
              "spacing": [3.0, 1.5, 1.0]},
    )  # fmt: skip
    rows = []
    for c in CLASSES_BRAIN[1:]:
        labels = label(codes == c["code"], connectivity=3)
        props = regionprops_table(
            labels, values, properties=("num_pixels", "centroid", "bbox", "intensity_mean")
        )
        for i, n in enumerate(props["num_pixels"]):
            centre = [float(props[f"centroid-{k}"][i]) for k in range(3)]
            row = {"id": len(rows) + 1, "class": c["name"], "code": c["code"], "pixels": int(n)}
            row |= {"volume_mm3": 4.5 * n, "volume_ml": 0.0045 * n}
            row |= {
                "world_x": centre[2] - 69,
                "world_y": 1.5 * centre[1] - 83.5,
                "world_z": 3 * centre[0] - 63,
            }
            row |= {
                "centroid_i": 139 - centre[2],
                "centroid_j": 109 - centre[1],
                "centroid_k": 43 - centre[0],
            }
            row |= {
                "mean_T1": float(props["intensity_mean"][i]),
                "mean_confidence": 0.97,
                "touches_border": False,
            }
            rows.append(row)
    regions = pa.Table.from_pylist(rows)
    record = make_record(
        info, CLASSES_BRAIN, make_statistics(values[..., None], np.ones(codes.shape, bool), ("T1",))
    )
    summary = make_summary(codes, CLASSES_BRAIN, regions, unit="mm3", size=4.5)
    return Sample(directory, ArrayImage(info, values[..., None]), codes, record, summary, regions)
