"""Masks lie on the input's grid to the last bit, and their bytes depend on content alone."""

from __future__ import annotations

import hashlib
import itertools
import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from segmodels.bundles.card import ClassCard
from tasks.codes import special_codes
from tasks.errors import OutputError
from tasks.imagery.open import open_image
from tasks.imagery.protocol import ImageInfo
from tasks.imagery.raster import geotiff_mask
from tasks.imagery.wanted import Wanted
from tasks.imagery.writers import create_mask, mask_name

CLASSES = (
    ClassCard(name="ocean", code=0, colour="#102030", region=False),
    ClassCard(name="land", code=1, colour="#40a050"),
)
TAGS = {"SEGFLOW_INPUT": "sha256:abc", "SEGFLOW_BUNDLE": "sha256:def"}
WKT_LOCAL = 'LOCAL_CS["hall",UNIT["metre",1]]'


def info_of(path: Path) -> ImageInfo:
    image = open_image(path, scratch=path.parent / "scratch")
    image.close()
    return image.info


def write_mask(
    info: ImageInfo, path: Path, codes: np.ndarray, *, step: int | None = None, wide: bool = False
) -> str:
    writer = create_mask(info, path, classes=CLASSES, wide=wide, tags=TAGS)
    n = info.shape[0]
    for start in range(0, n, step or n):
        window = (slice(start, min(start + (step or n), n)), *(slice(0, m) for m in info.shape[1:]))
        writer.write(window, codes[window])
    writer.finish()
    assert not list(path.parent.glob("*.part")) + list(path.parent.glob("*.tmp"))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def codes_for(info: ImageInfo, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(3).choice([0, 1, 253, 254, 255], info.shape).astype(dtype)


def raster(path: Path, *, size: tuple[int, int] = (41, 67), **options: Any) -> Path:
    profile: dict[str, Any] = {"count": 1, "dtype": "uint8", "height": size[0], "width": size[1]}
    with rasterio.open(path, "w", driver="GTiff", **(profile | options)):
        pass
    return path


GRIDS = [
    {"crs": "EPSG:32632", "transform": Affine(10 / 3, 0, 500000.1, 0, -10 / 7, 5300000.7)},
    {"crs": "EPSG:4326", "transform": Affine(1 / 240, 0.001, 179.9, -0.002, -1 / 240, 71.3)},
    {"crs": "EPSG:3857", "transform": Affine(0, 5.1, 17, 5.3, 0, 3)},
    {"crs": "EPSG:4326", "transform": Affine(0.1, 0, 0, 0, 0.1, -50)},
    {"crs": None, "transform": Affine(0.3, 0.1, 7, 0.2, -0.4, 9)},
    {"crs": None, "transform": None},
    {
        "crs": "+proj=laea +lat_0=52.1 +lon_0=10.3 +R=6371228 +units=m",
        "transform": Affine(1e3, 0, 0, 0, -1e3, 0),
    },
    {"crs": "EPSG:7415", "transform": Affine(1, 0, 1e5, 0, -1, 4e5)},
    {"crs": "EPSG:2263", "transform": Affine(1, 0, 1e5, 0, -1, 4e5)},
    {"crs": WKT_LOCAL, "transform": Affine(1, 0, 0, 0, -1, 0)},
]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("area_or_point", ["Area", "Point"])
@pytest.mark.parametrize("grid", GRIDS)
def test_geotiff_grid_is_bit_equal(tmp_path: Path, grid: dict[str, Any], area_or_point: str) -> None:
    path = raster(tmp_path / "in.tif", **grid)
    with rasterio.open(path, "r+") as f:
        f.update_tags(AREA_OR_POINT=area_or_point)
    info = info_of(path)
    codes = codes_for(info)
    write_mask(info, tmp_path / "mask.tif", codes)
    with rasterio.open(path) as a, rasterio.open(tmp_path / "mask.tif") as b:
        assert tuple(a.transform) == tuple(b.transform)
        assert a.crs == b.crs
        assert a.shape == b.shape
        np.testing.assert_array_equal(b.read(1), codes)


@pytest.mark.parametrize(
    "name",
    [
        "naip/m_4709963_se_14_1_20090818.tif",
        "landsat-pucallpa/1985.tif",
        "landsat8-bands/LC80030172015001LGN00_B2.tiff",
        "elevation/dtm.tif",
        "rasterio/RGB.byte.tif",
        "rasterstats/slope.tif",
    ],
)
def test_real_rasters(tmp_path: Path, shared_data: Path, name: str) -> None:
    info = info_of_shared(shared_data / name, tmp_path)
    codes = codes_for(info)
    write_mask(info, tmp_path / "mask.tif", codes)
    with rasterio.open(shared_data / name) as a, rasterio.open(tmp_path / "mask.tif") as b:
        assert (tuple(a.transform), a.crs, a.shape) == (tuple(b.transform), b.crs, b.shape)
        np.testing.assert_array_equal(b.read(1), codes)


def info_of_shared(path: Path, scratch: Path) -> ImageInfo:
    image = open_image(path, scratch=scratch / "scratch")
    image.close()
    return image.info


def test_geotiff_says_what_it_is(tmp_path: Path) -> None:
    info = info_of(raster(tmp_path / "in.tif", size=(1100, 700), **GRIDS[0]))
    write_mask(info, tmp_path / "mask.tif", codes_for(info))
    with rasterio.open(tmp_path / "mask.tif") as f:
        assert f.dtypes == ("uint8",)
        assert f.nodata == 255
        assert f.descriptions == ("class",)
        assert f.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert f.compression.name == "deflate"
        assert f.block_shapes == [(512, 512)]
        assert f.overviews(1) == [2, 4]
        tags = f.tags()
        assert tags["CLASS_1"] == "land"
        assert tags["CLASS_253"] == "unobserved"
        assert {k: tags[k] for k in TAGS} == TAGS
        table = f.colormap(1)
        assert table[0] == (0x10, 0x20, 0x30, 255)
        assert table[1] == (0x40, 0xA0, 0x50, 255)
        assert table[255][3] == 0
        assert len({table[c][:3] for c in (0, 1, 253, 254, 255)}) == 5


def test_wide_masks(tmp_path: Path) -> None:
    info = info_of(raster(tmp_path / "in.tif", **GRIDS[0]))
    codes = np.random.default_rng(0).choice([0, 300, 65533, 65535], info.shape).astype("uint16")
    write_mask(info, tmp_path / "mask.tif", codes, wide=True)
    with rasterio.open(tmp_path / "mask.tif") as f:
        assert f.nodata == 65535
        np.testing.assert_array_equal(f.read(1), codes)
    assert special_codes(wide=True) == {"nodata": 65535, "failed": 65534, "unobserved": 65533}


def test_geotiff_bytes_depend_on_content_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = info_of(raster(tmp_path / "in.tif", size=(1500, 1300), **GRIDS[0]))
    y, x = np.mgrid[0:1500, 0:1300]
    codes = ((y // 70 + x // 90) % 2).astype("uint8")
    codes[200:300, 1000:] = 255
    digests = set()
    for threads, step in itertools.product((1, 2, 4), (None, 512, 130)):
        monkeypatch.setattr(geotiff_mask, "_THREADS", threads)
        folder = tmp_path / f"out-{threads}-{step}"
        digests.add(write_mask(info, folder / "mask.tif", codes, step=step))
    assert len(digests) == 1


def test_pixels_never_written_are_nodata(tmp_path: Path) -> None:
    info = info_of(raster(tmp_path / "in.tif", **GRIDS[0]))
    create_mask(info, tmp_path / "mask.tif", classes=CLASSES, wide=False, tags={}).finish()
    with rasterio.open(tmp_path / "mask.tif") as f:
        assert (f.read(1) == 255).all()


@pytest.mark.parametrize("kind", ["nii", "tif"])
def test_abort_leaves_nothing(tmp_path: Path, kind: str) -> None:
    info = some_info(tmp_path, kind)
    out = tmp_path / "out"
    writer = create_mask(info, out / mask_name(info), classes=CLASSES, wide=False, tags={})
    writer.write(tuple(slice(0, n) for n in info.shape), codes_for(info))
    assert not (out / mask_name(info)).exists()
    writer.abort()
    writer.abort()
    assert not list(out.iterdir())


def some_info(folder: Path, kind: str) -> ImageInfo:
    if kind == "tif":
        return info_of(raster(folder / "in.tif", **GRIDS[0]))
    nib.Nifti1Image(np.zeros((4, 5, 6), "int16"), np.eye(4)).to_filename(folder / "in.nii")
    return info_of(folder / "in.nii")


@pytest.mark.parametrize("kind", ["nii", "tif"])
def test_unwritable_output(tmp_path: Path, kind: str) -> None:
    info = some_info(tmp_path, kind)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        create_mask(info, tmp_path / "file" / mask_name(info), classes=CLASSES, wide=False, tags={})


@pytest.mark.parametrize("kind", ["nii", "tif"])
def test_a_full_disk_is_said(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    info = some_info(tmp_path, kind)
    usage = shutil.disk_usage(tmp_path)
    out = tmp_path / "out" / mask_name(info)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1))
    with pytest.raises(OutputError, match="disk is full"):
        create_mask(info, out, classes=CLASSES, wide=False, tags={}).finish()
    assert not out.exists()


LIMITED = """
import resource, signal, sys
import numpy as np
from pathlib import Path
from tasks.errors import OutputError
from tasks.imagery.open import open_image
from tasks.imagery.writers import create_mask
out = Path(sys.argv[2])
info = open_image(sys.argv[1], scratch=out.parent).info
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    writer = create_mask(info, out, classes=(), wide=False, tags={})
    codes = np.random.default_rng(0).integers(0, 250, (1500, 1500)).astype("uint8")
    writer.write((slice(0, 1500), slice(0, 1500)), codes)
    writer.finish()
except OutputError as e:
    writer.abort()
    print("refused:", e)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no file size limit here")
def test_a_write_that_fails_midway_is_never_published(tmp_path: Path) -> None:
    path = raster(tmp_path / "in.tif", size=(1500, 1500), **GRIDS[0])
    out = tmp_path / "out" / "mask.tif"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, path, out], capture_output=True, text=True, check=False
    )
    assert "refused:" in done.stdout, done.stderr
    assert not list(out.parent.iterdir())


ORIENTATIONS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


@pytest.mark.parametrize(("order", "flips"), ORIENTATIONS)
def test_nifti_masks_undo_every_orientation(tmp_path: Path, order: Any, flips: Any) -> None:
    affine = np.eye(4)
    affine[:3, :3] = 0
    for native, (axis, flip) in enumerate(zip(order, flips, strict=True)):
        affine[axis, native] = flip * (1, 2, 3.5)[native]
    affine[:3, 3] = [0.1, -7.3, 11]
    data = np.arange(60, dtype="uint8").reshape(3, 4, 5)
    path = tmp_path / "in.nii"
    nib.Nifti1Image(data, affine).to_filename(path)
    image = open_image(path, scratch=tmp_path)
    # The identity "model": what was read goes out again, and must land on its own voxels.
    seen = image.read(tuple(slice(0, n) for n in image.info.shape)).values[..., 0]
    write_mask(image.info, tmp_path / "mask.nii.gz", seen, step=2)
    mask = nib.load(tmp_path / "mask.nii.gz")
    assert mask.affine.tobytes() == nib.load(path).affine.tobytes()
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), data)


GRID_FIELDS = ("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d",
               "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z", "dim")  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "nibabel/example4d.nii.gz",
        "nibabel/example_nifti2.nii.gz",
        "nibabel/anatomical.nii",
        "ct-organs/example_ct_sm.nii.gz",
    ],
)
def test_real_volumes(tmp_path: Path, shared_data: Path, name: str) -> None:
    info = info_of_shared(shared_data / name, tmp_path)
    codes = codes_for(info)
    digests = {write_mask(info, tmp_path / "out" / "mask.nii.gz", codes, step=step) for step in (None, 1, 7)}
    assert len(digests) == 1
    source, mask = nib.load(shared_data / name), nib.load(tmp_path / "out" / "mask.nii.gz")
    assert type(source) is type(mask) or isinstance(mask, type(source))
    for field in GRID_FIELDS:
        np.testing.assert_array_equal(source.header[field], mask.header[field], err_msg=field)
    assert mask.affine.tobytes() == source.affine.tobytes()
    assert mask.shape == source.shape
    assert mask.get_data_dtype() == np.uint8
    assert mask.header["intent_code"] == 1002
    assert bytes(mask.header["descrip"]).rstrip(b"\0") == b"segflow"
    assert (mask.dataobj.slope, mask.dataobj.inter) == (1.0, 0.0)
    data = np.asanyarray(nib.as_closest_canonical(mask).dataobj)
    np.testing.assert_array_equal(data.transpose(list(range(data.ndim))[::-1]), codes)
    (extension,) = mask.header.extensions
    comment = json.loads(extension.get_content())
    assert comment["tags"] == TAGS
    assert comment["classes"]["1"] == "land"


def test_nifti_gzip_has_no_time_and_no_name(tmp_path: Path) -> None:
    info = some_info(tmp_path, "nii")
    write_mask(info, tmp_path / "mask.nii.gz", codes_for(info))
    head = (tmp_path / "mask.nii.gz").read_bytes()[:10]
    assert head[3] == 0
    assert head[4:8] == bytes(4)


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 3, 1), (5, 4, 3, 2)])
def test_nifti_shapes_come_back(tmp_path: Path, shape: tuple[int, ...]) -> None:
    data = np.arange(np.prod(shape), dtype="uint8").reshape(shape)
    nib.Nifti1Image(data, np.diag([-1, 1, 2, 1])).to_filename(tmp_path / "in.nii")
    image = open_image(tmp_path / "in.nii", scratch=tmp_path)
    seen = image.read(tuple(slice(0, n) for n in image.info.shape)).values[..., 0]
    write_mask(image.info, tmp_path / "mask.nii.gz", seen.astype("uint16"), wide=True)
    mask = nib.load(tmp_path / "mask.nii.gz")
    assert mask.shape == shape
    assert mask.get_data_dtype() == np.uint16
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), data)


def test_a_mask_of_channels_has_space_only(tmp_path: Path, shared_data: Path) -> None:
    path = shared_data / "nibabel" / "example4d.nii.gz"
    image = open_image(path, scratch=tmp_path, wanted=Wanted(count=2))
    write_mask(image.info, tmp_path / "mask.nii.gz", codes_for(image.info))
    assert nib.load(tmp_path / "mask.nii.gz").shape == nib.load(path).shape[:3]
