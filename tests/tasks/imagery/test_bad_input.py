"""Every bad file is refused with one sentence and a remedy, early, and leaves nothing behind."""

from __future__ import annotations

import gzip
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine

from segmodels.bundles.card import ChannelCard
from tasks.errors import InputError, OutputError
from tasks.imagery.open import open_image
from tasks.imagery.source import Part, Source
from tasks.imagery.wanted import Reading, Wanted

Maker = Callable[[Path], Path]


def tiff(path: Path, *, dtype: str = "uint8", size: int = 300, **options: Any) -> Path:
    profile = {"crs": "EPSG:32632", "transform": Affine(10, 0, 5e5, 0, -10, 5e6), "count": 1} | options
    with rasterio.open(path, "w", driver="GTiff", height=size, width=size, dtype=dtype, **profile) as f:
        for band in range(1, profile["count"] + 1):
            f.write(np.arange(size * size).reshape(size, size).astype(dtype), band)
    return path


def nifti(path: Path, data: np.ndarray | None = None, **fields: Any) -> Path:
    data = np.arange(60, dtype="int16").reshape(3, 4, 5) if data is None else data
    image = nib.Nifti1Image(data, np.eye(4))
    plain = path.with_name("made.nii")
    image.to_filename(plain)
    raw = bytearray(plain.read_bytes())
    plain.unlink()
    offsets = {"datatype": (70, "<h"), "dim": (40, "<8h"), "pixdim": (76, "<8f"), "vox_offset": (108, "<f"),
               "srow": (280, "<12f"), "codes": (252, "<2h"), "quatern": (256, "<3f"), "magic": (344, "4s"),
               "slope": (112, "<2f")}  # fmt: skip
    for name, value in fields.items():
        at, layout = offsets[name]
        struct.pack_into(layout, raw, at, *(value if isinstance(value, tuple) else (value,)))
    path.write_bytes(gzip.compress(bytes(raw)) if path.suffix == ".gz" else bytes(raw))
    return path


def cut(path: Path, keep: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def text(path: Path) -> Path:
    path.write_text("not an image\n" * 50)
    return path


def gz_of_text(path: Path) -> Path:
    path.write_bytes(gzip.compress(b"text" * 200))
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def patched_size(path: Path) -> Path:
    """A small TIFF whose directory claims a million by a million pixels."""
    data = bytearray(tiff(path).read_bytes())
    (start,) = struct.unpack_from("<I", data, 4)
    (n,) = struct.unpack_from("<H", data, start)
    for i in range(n):
        at = start + 2 + 12 * i
        if struct.unpack_from("<H", data, at)[0] in (256, 257):
            struct.pack_into("<HII", data, at + 2, 4, 1, 1_000_000)
    path.write_bytes(data)
    return path


def patched_below_the_limit(path: Path) -> Path:
    data = bytearray(patched_size(path).read_bytes())
    path.write_bytes(bytes(data).replace(struct.pack("<I", 1_000_000), struct.pack("<I", 200_000)))
    return path


def sparse_giant(path: Path) -> Path:
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "count": 1,
        "dtype": "uint8",
        "sparse_ok": True,
        "tiled": True,
    }
    with rasterio.open(
        path, "w", height=10**6, width=10**6, blockxsize=16384, blockysize=16384, bigtiff="yes", **profile
    ):
        pass
    return path


def no_bands(path: Path) -> Path:
    data = bytearray(tiff(path).read_bytes())
    (start,) = struct.unpack_from("<I", data, 4)
    (n,) = struct.unpack_from("<H", data, start)
    for i in range(n):
        at = start + 2 + 12 * i
        if struct.unpack_from("<H", data, at)[0] == 277:
            struct.pack_into("<H", data, at + 8, 0)
    path.write_bytes(data)
    return path


def only_gcps(path: Path) -> Path:
    gcps = [GroundControlPoint(r, c, 10 + c / 100, 50 - r / 100) for r in (0, 300) for c in (0, 300)]
    tiff(path, crs=None, transform=None)
    with rasterio.open(path, "r+") as f:
        f.gcps = (gcps, rasterio.crs.CRS.from_epsg(4326))
    return path


def not_readable(path: Path) -> Path:
    os.mkfifo(path)
    return path


def corrupt_gz(path: Path) -> Path:
    rng = np.random.default_rng(0)
    data = bytearray(nifti(path, rng.integers(0, 999, (30, 30, 30)).astype("int16")).read_bytes())
    data[-8] ^= 0xFF  # the checksum
    path.write_bytes(data)
    return path


def colours(path: Path) -> Path:
    rgb = np.zeros((3, 4, 5), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    return nifti(path, rgb)


ZERO = (0.0,) * 12
CASES: dict[str, tuple[str, Maker, str]] = {
    "missing": ("x.tif", lambda p: p, "does not exist"),
    "directory": ("x.tif", folder, "folder"),
    "pipe": ("x.tif", not_readable, "not a regular file"),
    "empty": ("x.tif", lambda p: (p.touch(), p)[1], "empty"),
    "text": ("x.tif", text, "not a TIFF"),
    "unknown": ("x.dat", text, "no format known here"),
    "truncated half": ("x.tif", lambda p: cut(tiff(p), 0.5), "truncated"),
    "truncated end": ("x.tif", lambda p: cut(tiff(p), 0.999), "truncated"),
    "truncated tiled": ("x.tif", lambda p: cut(tiff(p, tiled=True, compress="deflate"), 0.8), "truncated"),
    "truncated planar": ("x.tif", lambda p: cut(tiff(p, count=3, interleave="band"), 0.7), "truncated"),
    "truncated big": ("x.tif", lambda p: cut(tiff(p, bigtiff="yes"), 0.7), "truncated"),
    "truncated in header": ("x.tif", lambda p: cut(tiff(p), 0.001), "truncated"),
    "eight bytes": ("x.tif", lambda p: cut(tiff(p), 8.5 / 90000), "truncated"),
    "claims a million": ("x.tif", patched_size, "1000000 × 1000000"),
    "claims 200,000": ("x.tif", patched_below_the_limit, "lists only"),
    "sparse giant": ("x.tif", sparse_giant, "1000000 × 1000000"),
    "no bands": ("x.tif", no_bands, "0 bands"),
    "complex": ("x.tif", lambda p: tiff(p, dtype="complex64"), "complex"),
    "complex double": ("x.tif", lambda p: tiff(p, dtype="complex128"), "complex"),
    "gcps": ("x.tif", only_gcps, "gdalwarp"),
    "flat transform": ("x.tif", lambda p: tiff(p, transform=Affine(10, 0, 0, 0, 0, 0)), "without area"),
    "text nifti": ("x.nii", text, "not a single-file NIfTI"),
    "text nifti gz": ("x.nii.gz", text, "not a gzip file"),
    "gz of text": ("x.nii.gz", gz_of_text, "not a single-file NIfTI"),
    "truncated nifti": ("x.nii", lambda p: cut(nifti(p), 0.95), "holds"),
    "truncated gz": ("x.nii.gz", lambda p: cut(nifti(p), 0.9), "truncated gzip"),
    "truncated gz early": ("x.nii.gz", lambda p: cut(nifti(p), 0.1), "truncated gzip"),
    "bad checksum": ("x.nii.gz", corrupt_gz, "corrupt gzip"),
    "claims more": ("x.nii", lambda p: nifti(p, dim=(3, 3, 4, 6, 1, 1, 1, 1)), "claims"),
    "claims more gz": ("x.nii.gz", lambda p: nifti(p, dim=(3, 3, 4, 6, 1, 1, 1, 1)), "claims"),
    "claims absurdly": ("x.nii.gz", lambda p: nifti(p, dim=(3, 3000, 3000, 3000, 1, 1, 1, 1)), "cannot hold"),
    "claims too much": ("x.nii", lambda p: nifti(p, dim=(3, 30000, 30000, 30000, 1, 1, 1, 1)), "voxels"),
    "zero axis": ("x.nii", lambda p: nifti(p, dim=(3, 3, 0, 5, 1, 1, 1, 1)), "length 0"),
    "negative axis": ("x.nii", lambda p: nifti(p, dim=(3, 3, -4, 5, 1, 1, 1, 1)), "length -4"),
    "no axes": ("x.nii", lambda p: nifti(p, dim=(0, 3, 4, 5, 1, 1, 1, 1)), "0 axes"),
    "five axes": ("x.nii", lambda p: nifti(p, dim=(5, 3, 2, 2, 1, 5, 1, 1)), "5 axes"),
    "singular": ("x.nii", lambda p: nifti(p, srow=ZERO), "singular"),
    "nan affine": ("x.nii", lambda p: nifti(p, srow=(np.nan,) * 12), "not finite"),
    "bad qform": ("x.nii", lambda p: nifti(p, codes=(1, 0), quatern=(3.0, 3.0, 3.0)), "qform"),
    "complex nifti": ("x.nii", lambda p: nifti(p, np.zeros((3, 4, 5), "complex64")), "complex"),
    "rgb nifti": ("x.nii", colours, "colours"),
    "unknown type": ("x.nii", lambda p: nifti(p, datatype=999), "data type"),
    "offset": ("x.nii", lambda p: nifti(p, vox_offset=np.nan), "header"),
    "half a scaling": ("x.nii", lambda p: nifti(p, slope=(2.0, np.nan)), "scaling"),
    "pair": ("x.nii", lambda p: nifti(p, magic=b"ni1\0"), "single-file"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("case", CASES)
def test_refused(tmp_path: Path, case: str) -> None:
    name, make, words = CASES[case]
    path = make(tmp_path / name)
    scratch = tmp_path / "scratch"
    with pytest.raises(InputError) as caught:
        open_image(path, scratch=scratch)
    message = str(caught.value)
    assert words in message
    assert str(path) in message
    assert "\n" not in message
    assert message.endswith(".")
    # One sentence: what is wrong; what to do.
    assert not re.search(r"[a-z]\. [A-Z]", message)
    assert not list(scratch.glob("*"))


def test_one_file_named_as_a_channel_that_the_model_does_not_take(tmp_path: Path) -> None:
    path = nifti(tmp_path / "x.nii")
    wanted = Wanted(channels=(ChannelCard(name="CT"),))
    with pytest.raises(InputError, match=r"T1.*its channels are CT"):
        open_image(Source(parts=(Part(uri=str(path), channel="T1"),)), scratch=tmp_path, wanted=wanted)
    named = Source(parts=(Part(uri=str(path), channel="ct"),))
    assert open_image(named, scratch=tmp_path, wanted=wanted).info.shape == (5, 4, 3)


def test_a_raster_has_no_frames(tmp_path: Path) -> None:
    wanted = Wanted(reading=Reading(frame=0))
    with pytest.raises(InputError, match="--frame is for volumes"):
        open_image(tiff(tmp_path / "x.tif"), scratch=tmp_path, wanted=wanted)


def test_a_full_or_forbidden_scratch_is_an_output_error(tmp_path: Path) -> None:
    path = nifti(tmp_path / "x.nii.gz")
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(OutputError, match="cannot be inflated"):
        open_image(path, scratch=blocked)


def test_sparse_files_are_legitimate(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    profile = {"crs": "EPSG:3857", "transform": Affine(1, 0, 9, 0, -1, 9), "nodata": 9, "sparse_ok": True}
    with rasterio.open(
        path, "w", driver="GTiff", height=20000, width=20000, count=1, dtype="uint8", tiled=True, **profile
    ) as f:
        f.write(np.ones((1, 256, 256), "uint8"), window=rasterio.windows.Window(512, 512, 256, 256))
    pixels = open_image(path, scratch=tmp_path).read((slice(500, 520), slice(500, 520)))
    assert pixels.valid.sum() == 64
