"""Chunks shared by blocks: the same pixels, each decoded once, bounded, damage kept local."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.blocks.reading import block_windows
from tasks.errors import InputError
from tasks.imagery.views.shared import SharedImage
from tasks.tiling.grid import make_grid
from tests.tasks.conftest import ArrayImage

LIMIT = 1 << 24


class CountingImage(ArrayImage):
    """Counts decoded pixels as storage would: whole chunks."""

    def __init__(self, values, *, chunk, bad=None):
        super().__init__(values, bad=bad)
        self.info = replace(self.info, chunk=chunk)
        self.decoded = 0

    def read(self, window):
        size = 1
        for w, c, n in zip(window, self.info.chunk, self.info.shape, strict=True):
            size *= min(-(-w.stop // c) * c, n) - w.start // c * c
        self.decoded += size
        return super().read(window)


def picture(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (*shape, 2)).astype(np.uint8)


def windows_of(shape, *, overlap=4, block=2, wraps=(False, False)):
    grid = make_grid(shape, tile=(16, 16), overlap=(overlap, overlap), block=(block, block), wraps=wraps)
    return list(block_windows(grid, padding="reflect"))


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 40), st.data())
@settings(max_examples=40, deadline=None)
def test_any_window_is_what_the_image_gives(height, width, ch, cw, data):
    image = ArrayImage(picture((height, width)))
    image.info = replace(image.info, chunk=(ch, cw))
    windows = []
    for _ in range(4):
        a, b = sorted(data.draw(st.tuples(st.integers(0, height - 1), st.integers(0, height - 1))))
        c, d = sorted(data.draw(st.tuples(st.integers(0, width - 1), st.integers(0, width - 1))))
        windows.append((slice(a, b + 1), slice(c, d + 1)))
    shared = SharedImage(image, windows, limit=LIMIT)
    for w in windows:
        got, expected = shared.read(w), image.read(w)
        np.testing.assert_array_equal(got.values, expected.values)
        np.testing.assert_array_equal(got.valid, expected.valid)
    assert not shared._kept


@pytest.mark.parametrize("chunk", [(1, 700), (256, 256), (512, 512), (100, 130)], ids=str)
def test_every_chunk_is_decoded_once_whatever_the_storage(chunk):
    image = CountingImage(picture((600, 700)), chunk=chunk)
    windows = windows_of((600, 700), wraps=(False, True))
    shared = SharedImage(image, windows, limit=LIMIT)
    for w in windows:
        shared.read(w)
    assert image.decoded == 600 * 700
    assert not shared._kept


def test_threads_share_too():
    image = CountingImage(picture((600, 700)), chunk=(64, 64))
    windows = windows_of((600, 700))
    shared = SharedImage(image, windows, limit=LIMIT)
    with ThreadPoolExecutor(8) as pool:
        for w, got in zip(windows, pool.map(shared.read, windows), strict=True):
            np.testing.assert_array_equal(got.values, image.values[w])
    assert not shared._kept


def test_memory_is_bounded_even_if_readers_never_come():
    image = CountingImage(picture((1024, 1024)), chunk=(256, 256))
    whole = (slice(0, 1024), slice(0, 1024))
    shared = SharedImage(image, [whole, *windows_of((1024, 1024))], limit=4 * 256 * 256 * 3)
    for w in windows_of((1024, 1024)):
        np.testing.assert_array_equal(shared.read(w).values, image.values[w])
        assert len(shared._kept) <= 4
    np.testing.assert_array_equal(shared.read(whole).values, image.values)


def test_damage_stays_where_it_is():
    bad = np.zeros((512, 512), bool)
    bad[300, 300] = True
    image = CountingImage(picture((512, 512)), chunk=(64, 64), bad=bad)
    near, far = (slice(256, 290), slice(256, 290)), (slice(290, 310), slice(290, 310))
    shared = SharedImage(image, [near, far], limit=LIMIT)
    np.testing.assert_array_equal(shared.read(near).values, image.values[near])
    with pytest.raises(InputError, match="corrupt"):
        shared.read(far)
