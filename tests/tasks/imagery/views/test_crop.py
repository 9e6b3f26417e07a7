"""A window as an image of its own: pixels, grid and place, against rasterio and nibabel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine, from_origin
from rasterio.windows import Window

from segmodels.bundles.card import ClassCard
from tasks.imagery.open import open_image
from tasks.imagery.views.crop import CroppedImage
from tasks.imagery.volume.orientation import native_box, world
from tasks.imagery.writers import create_mask

CLASSES = (ClassCard(name="a", code=0, colour="#000000"), ClassCard(name="b", code=1, colour="#ffffff"))
OBLIQUE = np.array([[1.7, 0.3, 0.1, -12.3], [-0.25, 2.1, 0.2, 33.1], [0.05, -0.3, 3.2, 5.7], [0, 0, 0, 1]])
FLIPPED = np.array([[0, 0, -2.0, 50], [1.5, 0, 0, -7], [0, -1, 0, 12], [0, 0, 0, 1]])


def write(image: Any, path: Path, codes: Any) -> None:
    writer = create_mask(image.info, path, classes=CLASSES, wide=False, tags={})
    writer.write(tuple(slice(0, n) for n in image.info.shape), codes.astype(np.uint8))
    writer.finish()


@pytest.mark.parametrize("rotated", [False, True])
def test_a_raster(tmp_path: Path, rotated: bool) -> None:
    values = np.random.default_rng(0).integers(0, 2, (40, 50), np.uint8)
    transform = from_origin(485899.25, 5209246.75, 0.1, 0.1)
    if rotated:
        transform = transform @ Affine.rotation(20)
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", height=40, width=50, count=1, dtype="uint8", crs="EPSG:26914",
        transform=transform,
    ) as out:  # fmt: skip
        out.write(values, 1)
    image = CroppedImage(open_image(tmp_path / "a.tif", scratch=tmp_path), (slice(7, 30), slice(11, 44)))
    assert image.info.shape == (23, 33)
    np.testing.assert_array_equal(image.read((slice(2, 9), slice(0, 33))).values[..., 0], values[9:16, 11:44])
    write(image, tmp_path / "mask.tif", values[7:30, 11:44])
    with rasterio.open(tmp_path / "a.tif") as source, rasterio.open(tmp_path / "mask.tif") as mask:
        expected = source.window_transform(Window(11, 7, 33, 23))
        np.testing.assert_allclose(tuple(mask.transform), tuple(expected), rtol=1e-15)
        assert mask.crs == source.crs


@pytest.mark.parametrize("affine", [np.diag([2.0, 2, 2, 1]), FLIPPED, OBLIQUE], ids=["RAS", "ALI", "oblique"])
@pytest.mark.parametrize("forms", ["both", "sform", "qform"])
@pytest.mark.parametrize("frames", [1, 3])
def test_a_volume_lies_where_nibabel_slices_it(tmp_path: Path, affine: Any, forms: str, frames: int) -> None:
    values = np.random.default_rng(0).integers(0, 2, (9, 12, 10, frames)).astype(np.int16)
    file = nib.Nifti1Image(values if frames > 1 else values[..., 0], None)
    file.header.set_sform(affine, code=1 if forms != "qform" else 0)
    file.header.set_qform(affine, code=2 if forms != "sform" else 0, strip_shears=True)
    nib.save(nib.Nifti1Image(file.dataobj, None, file.header), tmp_path / "a.nii.gz")
    source = nib.load(tmp_path / "a.nii.gz")
    whole = open_image(tmp_path / "a.nii.gz", scratch=tmp_path)
    window = tuple(slice(1, n - 2) for n in whole.info.shape[-3:])
    native = native_box(whole.info, window)
    sliced = source.slicer[native]
    lead = (slice(0, frames),) if frames > 1 else ()
    image = CroppedImage(whole, (*lead, *window))
    codes = image.read(tuple(slice(0, n) for n in image.info.shape)).values[..., 0]
    write(image, tmp_path / "mask.nii.gz", codes)
    mask = nib.load(tmp_path / "mask.nii.gz")
    assert mask.shape == sliced.shape
    np.testing.assert_array_equal(mask.dataobj, sliced.dataobj)
    np.testing.assert_allclose(mask.affine, sliced.affine, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(image.info.grid["affine"], sliced.affine, rtol=1e-6, atol=1e-5)
    for name in ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "pixdim"):
        np.testing.assert_array_equal(mask.header[name], source.header[name])
    if forms == "both":
        shift = source.get_qform()[:3, :3] @ [s.start for s in native]
        np.testing.assert_allclose(
            mask.get_qform()[:3, 3], source.get_qform()[:3, 3] + shift, rtol=1e-6, atol=1e-5
        )
    first = world(image.info, [[0, 0, 0]])
    np.testing.assert_allclose(first, world(whole.info, [[1, 1, 1]]), atol=1e-5)


def test_a_volume_without_orientation_keeps_its_place(tmp_path: Path) -> None:
    file = nib.Nifti1Image(np.zeros((9, 12, 10), np.int16), None)
    file.header.set_zooms((1.5, 2, 3))
    file.header["qform_code"] = file.header["sform_code"] = 0
    nib.save(file, tmp_path / "a.nii")
    source = nib.load(tmp_path / "a.nii")
    whole = open_image(tmp_path / "a.nii", scratch=tmp_path)
    window = (slice(1, 6), slice(2, 7), slice(0, 4))
    image = CroppedImage(whole, window)
    write(image, tmp_path / "mask.nii.gz", np.zeros(image.info.shape))
    expected = source.slicer[native_box(whole.info, window)].affine
    np.testing.assert_allclose(nib.load(tmp_path / "mask.nii.gz").affine, expected, atol=1e-5)
