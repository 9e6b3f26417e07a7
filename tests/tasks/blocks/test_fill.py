"""The compiled gathering does what numpy's indexing and the normaliser do, to the last bit."""

import numpy as np
import pytest

from segmodels.normalise import Normaliser
from tasks.blocks.fill import fill_tile


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("shape", [(9, 11), (4, 9, 11), (2, 4, 9, 11)], ids=str)
def test_same_as_indexing_and_normalising(shape, dtype):
    rng = np.random.default_rng(1)
    values = (rng.random((*shape, 3)) * 200).astype(dtype)
    valid = rng.random(shape) < 0.8
    if np.dtype(dtype).kind == "f":
        values[~valid] = np.nan
    normaliser = Normaliser((10.0, -np.inf, 0.0), (150.0, np.inf, 99.0), (1.0, 7.3, 0.0), (0.1, 1 / 3, 1.0))
    for last in (np.arange(2, 9), np.array([0, 1, 2, 1, 0, 10])):
        positions = (*(np.array([0, n - 1, 0]) for n in shape[:-1]), last)
        out = np.full((*map(len, positions), 3), np.nan, np.float32)
        seen = fill_tile(values, valid, positions, normaliser=normaliser, out=out)
        box = np.ix_(*positions)
        np.testing.assert_array_equal(seen, valid[box])
        np.testing.assert_array_equal(out, normaliser(values[box], valid[box]))
