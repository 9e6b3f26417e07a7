"""The pictures that are measured on: the same regions at every size, whatever the strips."""

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import label

from benchmarks.data import CELLS, geotiff, nifti, picture, volume


@pytest.mark.parametrize("side", [512, 1000])
def test_every_size_has_the_same_discs(side: int) -> None:
    values = picture(range(side), side)
    assert values.shape == (3, side, side)
    inside = values[0] > 127
    assert label(inside)[1] == CELLS**2
    assert inside.mean() == pytest.approx(np.pi * 0.3**2, rel=0.02)
    assert np.array_equal(inside[37:90], picture(range(37, 90), side)[0] > 127)


def test_files_are_made_once(tmp_path: Path) -> None:
    import nibabel
    import rasterio

    image = geotiff(tmp_path, 576)  # not a whole number of blocks
    made = image.stat().st_mtime_ns
    assert geotiff(tmp_path, 576).stat().st_mtime_ns == made
    with rasterio.open(image) as dataset:
        assert (dataset.shape, dataset.count, dataset.block_shapes[0]) == ((576, 576), 3, (512, 512))
        assert label(dataset.read(1) > 127)[1] == CELLS**2
    loaded = nibabel.load(nifti(tmp_path, (8, 24, 16)))
    assert np.array_equal(np.asarray(loaded.dataobj).transpose(2, 1, 0), volume((8, 24, 16)))
    assert not list(tmp_path.glob("*part*"))
