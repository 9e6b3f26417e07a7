"""Means of boxes of pixels, whatever the window; a grid that spans the image's."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from tasks.imagery.open import open_image
from tasks.imagery.views import coarsened
from tasks.imagery.views.coarsened import CoarsenedImage, coarsen_info
from tasks.imagery.volume.orientation import world


def mean(values, valid, factors):
    """Box by box."""
    shape = [-(-n // f) for n, f in zip(valid.shape, factors, strict=True)]
    out = np.zeros((*shape, values.shape[-1]))
    known = np.zeros(shape, bool)
    for at in np.ndindex(*shape):
        box = tuple(slice(i * f, (i + 1) * f) for i, f in zip(at, factors, strict=True))
        known[at] = valid[box].any()
        if known[at]:
            out[at] = values[box][valid[box]].mean(axis=0)
    return out, known


@pytest.mark.parametrize(
    ("shape", "factors"), [((23, 17), (4, 4)), ((9, 10, 11), (1, 3, 2)), ((2, 5, 6, 7), (1, 2, 2, 2))]
)
def test_means_of_valid_pixels(array_image, monkeypatch, shape, factors):
    rng = np.random.default_rng(1)
    values = rng.normal(1000, 50, (*shape, 2)).astype(np.float32)
    valid = rng.random(shape) > 0.4
    valid[tuple(slice(f, 2 * f) for f in factors)] = False
    values[~valid] = np.nan
    full = array_image(values, valid=valid)
    native = (*reversed(shape[-3:]), *shape[:-3])
    full.info.grid.update(affine=np.eye(4).tolist(), native_shape=native, voxel_mm3=1.0)
    full.info.grid["spacing"] = [1.0] * len(shape)
    image = CoarsenedImage(full, factors)
    want, known = mean(values.astype(np.float64), valid, factors)
    whole = image.read(tuple(slice(0, n) for n in image.info.shape))
    assert image.info.shape == known.shape
    assert whole.values.dtype == np.float32
    np.testing.assert_array_equal(whole.valid, known)
    np.testing.assert_allclose(whole.values[known], want[known], rtol=1e-6)
    assert not known.all()
    monkeypatch.setattr(coarsened, "PIECE", 30)
    window = tuple(slice(n // 3, n) for n in image.info.shape)
    part = image.read(window)
    np.testing.assert_array_equal(part.values, whole.values[window])
    np.testing.assert_array_equal(part.valid, whole.valid[window])


def test_a_raster_keeps_its_corners(array_image):
    info = array_image(np.zeros((10, 11, 1), np.uint8)).info
    info.grid["transform"] = (2.0, 0.0, 100.0, 0.0, -3.0, 50.0)
    made = coarsen_info(info, (4, 3))
    a, _, c, _, e, f = made.grid["transform"]
    assert made.shape == (3, 4)
    assert (c, f) == (100, 50)
    assert (c + 4 * a, f + 3 * e) == (100 + 11 * 2, 50 - 10 * 3)


def test_a_volume_keeps_its_place(tmp_path):
    affine = np.array([[-2.0, 0, 0, 80], [0, 0, 3, -20], [0, 1.5, 0, 7], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(np.zeros((8, 12, 6), np.int16), affine), tmp_path / "v.nii")
    image = open_image(tmp_path / "v.nii", scratch=tmp_path)
    made = coarsen_info(image.info, (4, 3, 2))
    assert image.info.shape == (12, 6, 8)
    assert made.shape == (3, 2, 4)
    np.testing.assert_allclose(made.grid["spacing"], np.multiply(image.info.grid["spacing"], (4, 3, 2)))
    # The middle of a box of voxels is the middle of the voxel that stands for it.
    corners = [[z, y, x] for z in (0, 2) for y in (0, 1) for x in (0, 3)]
    centres = np.array(corners) * (4, 3, 2) + np.array([1.5, 1, 0.5])
    np.testing.assert_allclose(world(made, corners), world(image.info, centres))
