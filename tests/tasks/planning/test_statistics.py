"""Image-wide statistics against numpy on the whole array."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.errors import InputError
from tasks.planning.statistics import bands, image_statistics


def bimodal(rng, shape):
    return np.where(rng.random(shape) < 0.3, 0, rng.normal(500, 40, shape))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_statistics_equal_numpy(dtype, array_image):
    rng = np.random.default_rng(0)
    x = bimodal(rng, (90, 70, 2))
    x = (x / 4 if dtype == "uint8" else x - 300 if dtype in ("int16", "float32") else x).astype(dtype)
    valid = rng.random((90, 70)) > 0.1
    found = image_statistics(array_image(x, valid=valid), thresholds=(0.0,))
    for c, s in enumerate(found):
        v = x[valid][:, c].astype(np.float64)
        assert s.valid == v.size
        assert (s.minimum, s.maximum) == (v.min(), v.max())
        np.testing.assert_allclose(s.mean_std(), (v.mean(), v.std()), rtol=1e-9)
        above = v[v > 0]
        np.testing.assert_allclose(s.mean_std(above=0.0), (above.mean(), above.std()), rtol=1e-9)
        for q in (0.5, 2, 50, 98, 100):
            tolerance = 0 if s.exact else 6e-4 * np.abs(v).max()
            want = np.percentile(v, q, method="inverted_cdf")
            assert abs(s.percentile(q) - want) <= tolerance
            want = np.percentile(above, q, method="inverted_cdf")
            assert abs(s.percentile(q, above=0.0) - want) <= tolerance


def test_zero_is_not_above_zero(array_image):
    x = np.zeros((4, 4, 1), np.float32)
    x[0, 0] = 3.0
    (s,) = image_statistics(array_image(x), thresholds=(0.0,))
    np.testing.assert_allclose(s.percentile(1, above=0.0), 3.0, rtol=6e-4)


def test_large_integers_do_not_overflow(array_image):
    x = np.full((64, 64, 1), 65535, np.uint16)
    (s,) = image_statistics(array_image(x))
    s.counts *= 10**11
    assert s.mean_std() == (65535.0, 0.0)


def test_bands_cover_the_image_once(array_image):
    for shape in [(50, 3, 1), (4, 9, 5, 2), (2, 7, 5, 3, 1)]:
        image = array_image(np.zeros(shape, np.uint8))
        seen = np.zeros(shape[:-1], int)
        for window in bands(image.info, limit=40):
            seen[window] += 1
        assert (seen == 1).all()


def test_corrupt_parts_are_left_out_and_a_corrupt_image_is_refused(array_image):
    x = np.arange(100, dtype=np.float32).reshape(10, 10, 1)
    bad = np.zeros((10, 10), bool)
    bad[3, 7] = True
    (s,) = image_statistics(array_image(x, bad=bad))
    kept = np.delete(x, 3, axis=0)
    assert s.valid == 90
    np.testing.assert_allclose(s.mean_std()[0], kept.mean())
    with pytest.raises(InputError, match="corrupt"):
        image_statistics(array_image(x, bad=np.ones((10, 10), bool)))
