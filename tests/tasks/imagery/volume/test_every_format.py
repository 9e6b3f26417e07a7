"""What every format of volumes promises: voxels as its own library reads them, masks on its grid to the last bit."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from segmodels.bundles.card import ClassCard
from tasks.imagery.formats import FORMATS
from tasks.imagery.open import describe, open_image
from tasks.imagery.protocol import Image, ImageInfo
from tasks.imagery.wanted import Reading, Wanted
from tasks.imagery.writers import create_mask, mask_name
from tests.tasks.imagery.volume.volumes import CASES, MAKERS, make, same

CLASSES = (
    ClassCard(name="background", code=0, colour="#102030", region=False),
    ClassCard(name="cell", code=1, colour="#40a050"),
)


def everything(info: ImageInfo) -> tuple[slice, ...]:
    return tuple(slice(0, n) for n in info.shape)


def windows(info: ImageInfo, count: int = 6) -> list[tuple[slice, ...]]:
    rng = np.random.default_rng(1)
    ends = [[sorted(rng.choice(n + 1, 2, replace=False)) for n in info.shape] for _ in range(count)]
    return [tuple(slice(int(a), int(b)) for a, b in e) for e in ends]


def written(info: ImageInfo, path: Path, codes: np.ndarray, step: int) -> dict[str, str]:
    """Writes a mask in bands of ``step`` lines; digests of its files by their names."""
    writer = create_mask(info, path, classes=CLASSES, wide=False, tags={"SEGFLOW_INPUT": "sha256:abc"})
    for start in range(0, info.shape[-2], step):
        band = slice(start, min(start + step, info.shape[-2]))
        window = (*everything(info)[:-2], band, slice(0, info.shape[-1]))
        writer.write(window, codes[window])
    writer.finish()
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    return {p.relative_to(path.parent).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_every_volume_of_the_table_is_made_here() -> None:
    # A folder of DICOM files has tests of its own.
    assert {f.name for f in FORMATS if f.parts == "volume"} - {"dicom"} == set(MAKERS)


@pytest.mark.parametrize(("name", "way", "dtype"), CASES)
def test_voxels_and_grid_come_back(tmp_path: Path, name: str, way: str, dtype: str) -> None:
    (tmp_path / "in").mkdir()
    paths, expected = make(tmp_path / "in", name, way, dtype)
    image: Image = open_image(paths, scratch=tmp_path / "scratch")
    info = image.info
    assert info.format == name
    assert info.kind == "volume"
    assert (*info.shape, len(info.channels)) == expected.shape
    assert info.dtype == expected.dtype.newbyteorder("=").name
    assert describe(info)
    with ThreadPoolExecutor(4) as pool:
        for window, pixels in zip(windows(info), pool.map(image.read, windows(info)), strict=True):
            np.testing.assert_array_equal(pixels.values, expected[window])
            assert pixels.values.flags.c_contiguous
            assert pixels.valid.all()
    if "t" in info.axes:
        wanted = Wanted(reading=Reading(frame=1))
        one = open_image(paths, scratch=tmp_path / "scratch", wanted=wanted)
        np.testing.assert_array_equal(one.read(everything(one.info)).values, expected[1])
        assert one.info.grid["native_shape"] == info.grid["native_shape"][:3]
        one.close()
    codes = np.random.default_rng(3).choice([0, 1, 253, 254, 255], info.shape).astype(np.uint8)
    places = [tmp_path / str(step) / mask_name(info) for step in (3, 1000)]
    digests = [written(info, place, codes, step) for place, step in zip(places, (3, 1000), strict=True)]
    assert digests[0] == digests[1]
    mask = open_image(places[0], scratch=tmp_path / "scratch")
    np.testing.assert_array_equal(mask.read(everything(mask.info)).values[..., 0], codes)
    assert mask.info.shape == info.shape
    exact = places[0].suffix != ".gz" or name in ("nifti", "modalities")
    for key in ("native_shape", "orientation", "unit_mm", "affine" if exact else "orientation"):
        assert same(mask.info.grid[key], info.grid[key]), key
    # NIfTI-1, as which masks of other volumes are written, has float32 places.
    np.testing.assert_allclose(mask.info.grid["affine"], info.grid["affine"], rtol=1e-6, atol=1e-5)
    image.close()
    mask.close()


@pytest.mark.parametrize("name", ["nrrd", "metaimage"])
def test_masks_of_itk_formats_lie_where_itk_says(tmp_path: Path, name: str) -> None:
    paths, _ = make(tmp_path, name, "plain", "int16")
    image = open_image(paths, scratch=tmp_path)
    path = tmp_path / "out" / mask_name(image.info)
    written(image.info, path, np.zeros(image.info.shape, np.uint8), 100)
    first, second = SimpleITK.ReadImage(str(paths[0])), SimpleITK.ReadImage(str(path))
    assert first.GetSize() == second.GetSize()
    for what in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(second, what)(), getattr(first, what)(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("way", ["0.4", "0.5", "one plane"])
def test_labels_open_in_the_reader_of_ome_zarr(tmp_path: Path, way: str) -> None:
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Label, Multiscales, Reader

    paths, _ = make(tmp_path, "ome-zarr", way, "uint16" if way != "0.5" else "uint8")
    image = open_image(paths, scratch=tmp_path)
    codes = np.random.default_rng(3).choice([0, 1, 255], image.info.shape).astype(np.uint8)
    path = tmp_path / "out" / mask_name(image.info)
    written(image.info, path, codes, 7)
    nodes: Any = list(Reader(parse_url(str(path)))())
    assert {type(spec) for spec in nodes[0].specs} == {Label, Multiscales}
    np.testing.assert_array_equal(np.asarray(nodes[0].data[0]).reshape(codes.shape), codes)
    about = nodes[0].metadata
    assert about["properties"][1] == {"name": "cell"}
    np.testing.assert_allclose(about["color"][1], np.array([0x40, 0xA0, 0x50, 255]) / 255)
    stored = {"0.4": [1.5, 0.7, 0.13, 0.11], "0.5": [1.5, 0.7, 0.13, 0.11], "one plane": [0.13, 0.11]}[way]
    assert about["coordinateTransformations"][0][0]["scale"] == stored
    space = [a for a in about["axes"] if a["type"] == "space"]
    assert {a["unit"] for a in space} == {"micrometer"}


def test_a_pyramid_takes_the_commonest_code(tmp_path: Path) -> None:
    import zarr

    path = tmp_path / "big.zarr"
    zarr.create_array(str(path), shape=(2, 600, 530), chunks=(1, 128, 128), dtype="u1", zarr_format=3)
    image = open_image(path, scratch=tmp_path)
    codes = np.random.default_rng(3).integers(0, 3, image.info.shape).astype(np.uint8)
    out = tmp_path / "out" / mask_name(image.info)
    written(image.info, out, codes, 64)
    group: Any = zarr.open_group(str(out), mode="r")
    assert sorted(group.array_keys()) == ["0", "1", "2"]
    assert group["0"].chunks == (1, 128, 128)
    above = codes
    for level in ("1", "2"):
        found = np.asarray(group[level][...])
        padded = np.pad(above, [(0, 0), *((0, n % 2) for n in above.shape[1:])], mode="edge")
        four = np.stack([padded[:, y::2, x::2] for y in (0, 1) for x in (0, 1)])
        counts = np.stack([(four == c).sum(axis=0) for c in range(3)])
        of_found = np.take_along_axis(counts, found[np.newaxis].astype(int), axis=0)[0]
        np.testing.assert_array_equal(of_found, counts.max(axis=0))
        above = found
