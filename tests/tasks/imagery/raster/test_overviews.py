from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tasks.imagery.raster.overviews import Overviews, halve


def commonest(four: list[int], nodata: int) -> int:
    counted = Counter(v for v in four if v != nodata)  # keeps the order in which values came
    return counted.most_common(1)[0][0] if counted else nodata


@settings(deadline=None)
@given(
    arrays("u1", array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.sampled_from([0, 1, 2, 255]))
)
def test_each_pixel_is_the_commonest_of_four(codes: np.ndarray) -> None:
    found = halve(codes, 255)
    padded = np.pad(codes, [(0, n % 2) for n in codes.shape], mode="edge")
    assert found.shape == tuple(-(-n // 2) for n in codes.shape)
    for y, x in np.ndindex(found.shape):
        four = padded[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].ravel().tolist()
        assert found[y, x] == commonest(four, 255)


@pytest.mark.parametrize("rows", [1, 3, 7, 64, 101])
def test_levels_do_not_depend_on_how_lines_come(tmp_path: Path, rows: int) -> None:
    codes = np.random.default_rng(1).choice([0, 1, 2, 255], (101, 67)).astype("u1")
    made = Overviews((101, 67), block=16, dtype=codes.dtype, nodata=255, stem=tmp_path / "m.tif")
    for start in range(0, 101, rows):
        made.write(codes[start : start + rows])
    made.finish()
    expected = codes
    assert [p.name for p in made.paths] == ["m.tif.level1.part", "m.tif.level2.part", "m.tif.level3.part"]
    for path in made.paths:
        expected = halve(expected, 255)
        with rasterio.open(path) as f:
            np.testing.assert_array_equal(f.read(1), expected)
    assert max(expected.shape) <= 16
