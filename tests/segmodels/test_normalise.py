"""Normalisation against the same arithmetic in exact numbers."""

from __future__ import annotations

import numpy as np
import pytest

from segmodels.normalise import Normaliser


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64", "float64"])
def test_small_differences_of_large_numbers_survive(dtype):
    x = np.array([[10**9], [10**9 + 1], [10**9 + 2]], dtype)
    normalise = Normaliser((10**9,), (10**9 + 2.0,), (10**9 + 1.0,), (4.0,))
    y = normalise(x)
    assert y.dtype == np.float32
    assert y.ravel().tolist() == [-4, 0, 4]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float16", "float32"])
def test_narrow_types_are_computed_in_float32(dtype):
    rng = np.random.default_rng(0)
    x = (rng.random((7, 5, 2)) * 250).astype(dtype)
    valid = rng.random((7, 5)) > 0.2
    low, high, offset, scale = (3.0, -np.inf), (222.2, np.inf), (1 / 3, 0.1), (0.7, 1 / 9)
    y = Normaliser(low, high, offset, scale)(x, valid)
    f = np.float32
    expected = (np.clip(x.astype(f), np.array(low, f), np.array(high, f)) - np.array(offset, f)) * np.array(
        scale, f
    )
    expected[~valid] = 0
    np.testing.assert_array_equal(y, expected)


@pytest.mark.filterwarnings("error")
def test_nodata_beyond_float32_becomes_zero_without_a_warning():
    x = np.array([[5.0], [-1.797e308], [np.nan]])
    y = Normaliser((-np.inf,), (np.inf,), (1.0,), (0.5,))(x, np.array([True, False, False]))
    assert y.ravel().tolist() == [2, 0, 0]
