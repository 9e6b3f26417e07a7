"""Image-wide statistics against numpy on the whole array."""

from __future__ import annotations

import dataclasses
import itertools
import tracemalloc

import numpy as np
import pytest

from tasks.errors import InputError
from tasks.planning.statistics import ChannelHistogram, bands, image_statistics


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
            tolerance = 0 if s.exact else 3e-4 * np.abs(v).max()
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


def geometry(array_image, shape, chunk, *, dtype="uint8"):
    info = array_image(np.zeros((1,) * len(shape) + (1,), dtype)).info
    return dataclasses.replace(info, shape=shape, chunk=chunk)


@pytest.mark.parametrize(
    ("shape", "chunk", "limit"),
    [
        ((64, 1000), (8, 16), 8 * 16),
        ((64, 1000), (8, 16), 8 * 100),
        ((64, 1000), (8, 1000), 8000),
        ((64, 1000), (1, 1000), 8000),
        ((50, 30, 20), (1, 1, 20), 100),
        # A volume whose file begins with z: no window cuts a row of it.
        ((50, 30, 20), (50, 1, 1), 600),
        ((3, 50, 30, 20), (1, 1, 1, 20), 10**5),
    ],
)
def test_every_chunk_lies_in_one_window(shape, chunk, limit, array_image):
    windows = bands(geometry(array_image, shape, chunk), limit=limit)
    assert all(np.prod([s.stop - s.start for s in w]) <= limit for w in windows)
    assert [tuple(s.start for s in w) for w in windows] == sorted(tuple(s.start for s in w) for w in windows)
    for corner in itertools.product(*(range(0, n, c) for n, c in zip(shape, chunk, strict=True))):
        cell = [(a, min(a + c, n)) for a, c, n in zip(corner, chunk, shape, strict=True)]
        met = [
            w for w in windows if all(s.start < b and a < s.stop for s, (a, b) in zip(w, cell, strict=True))
        ]
        assert len(met) == 1


def test_windows_hold_as_many_chunks_as_fit(array_image):
    info = geometry(array_image, (4096, 100_000), (512, 512), dtype="uint16")
    assert len(bands(info)) == 8 * 4  # 64 of the 196 chunks of a row at a time
    assert len(bands(geometry(array_image, (4096, 4096), (512, 512)))) == 1


def test_a_chunk_beyond_the_limit_is_cut(array_image):
    for shape, chunk, limit in [((100, 50), (100, 50), 600), ((3, 9000), (3, 9000), 1000)]:
        windows = bands(geometry(array_image, shape, chunk), limit=limit)
        seen = np.zeros(shape, int)
        for w in windows:
            seen[w] += 1
            assert np.prod([s.stop - s.start for s in w]) <= limit
        assert (seen == 1).all()


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64", "float64"])
@pytest.mark.parametrize("offset", [10**9, -(10**9), 10**15])
def test_a_large_offset_hides_no_spread(dtype, offset, array_image):
    if np.dtype(dtype).kind != "f" and not np.iinfo(dtype).min <= offset < np.iinfo(dtype).max:
        pytest.skip("beyond the type")
    rng = np.random.default_rng(0)
    near = rng.choice(3, (300, 40, 1), p=[0.2, 0.5, 0.3])
    (s,) = image_statistics(array_image((near + offset).astype(dtype)))
    mean, std = s.mean_std()
    assert mean == pytest.approx(offset + near.mean(), rel=1e-15)
    assert std == pytest.approx(near.std(), rel=1e-9)
    assert [s.percentile(q) - offset for q in (2, 50, 98)] == [0, 1, 2]


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_no_difference_overflows(dtype, array_image):
    ends = np.iinfo(dtype)
    x = np.array([ends.min, ends.max] * 50, dtype).reshape(10, 10, 1)
    (s,) = image_statistics(array_image(x))
    mean, std = s.mean_std()
    assert std == pytest.approx(2.0**63, rel=1e-12)
    assert mean == pytest.approx((ends.min + ends.max) / 2, abs=1e4)


def test_foreground_far_from_zero_keeps_its_spread(array_image):
    rng = np.random.default_rng(0)
    x = np.where(rng.random((200, 50, 1)) < 0.4, 0, 1e9 + rng.random((200, 50, 1)))
    x[0, 0] = 0
    (s,) = image_statistics(array_image(x), thresholds=(0.0,))
    v = x[x > 0]
    np.testing.assert_allclose(s.mean_std(above=0.0)[1], v.std(), rtol=1e-5)
    for q in (2, 50, 98):
        assert abs(s.percentile(q, above=0.0) - np.percentile(v, q, method="inverted_cdf")) < 5e-4


def test_small_values_stay_precise_beside_large_ones(array_image):
    rng = np.random.default_rng(0)
    x = 10 ** rng.uniform(-6, 3, (100, 100, 1))
    (s,) = image_statistics(array_image(x))
    for q in (2, 50, 98):
        np.testing.assert_allclose(s.percentile(q), np.percentile(x, q, method="inverted_cdf"), rtol=3e-4)


@pytest.mark.parametrize("value", [-1.797e308, 1e39])
def test_values_beyond_float32_are_undeclared_nodata(value, array_image):
    x = np.ones((9, 9, 1))
    x[3, 3] = value
    with pytest.raises(InputError, match=r"memory\.tif: channel band1 holds .*e\+.*gdal_edit.py -a_nodata"):
        image_statistics(array_image(x))
    valid = x[..., 0] == 1
    assert image_statistics(array_image(x, valid=valid))[0].maximum == 1


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_counting_needs_little_besides_the_data(dtype):
    values = np.ones((4096, 4096), dtype)
    histogram = ChannelHistogram("a", np.dtype(dtype))
    histogram.add(values[:10])
    tracemalloc.start()
    try:
        histogram.add(values)
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()
    assert histogram.valid == 4106 * 4096


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
