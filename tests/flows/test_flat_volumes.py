"""The command on NIfTI files of one slice, with two axes or three."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest


@pytest.mark.parametrize("shape", [(20, 24), (20, 24, 1)])
@pytest.mark.parametrize("ndims", [(2,), (3,)])
def test_a_single_slice(
    tmp_path: Path,
    segflow: Any,
    make_bundle: Callable[..., Path],
    shape: tuple[int, ...],
    ndims: tuple[int, ...],
) -> None:
    data = np.random.default_rng(0).random(shape).astype(np.float32)
    image = tmp_path / "slice.nii.gz"
    nib.Nifti1Image(data, np.diag([2.0, 3.0, 4.0, 1.0])).to_filename(image)
    ran = segflow.run(image, make_bundle(ndims=ndims), tmp_path / "out")
    assert ran.code == 0, ran.error
    mask = nib.load(ran.folder / "mask.nii.gz")
    assert mask.shape == shape
    np.testing.assert_array_equal(np.asarray(mask.dataobj), data > 0.5)
    assert (ran.folder / "report.html").stat().st_size > 1000
