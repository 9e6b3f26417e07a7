"""Building blocks against independent references: matrices, scipy, numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage, signal

keras = pytest.importorskip("keras")

from segmodels.layers.initial import Bilinear  # noqa: E402
from segmodels.layers.resampling import AdaptiveAveragePooling, ResizeLike  # noqa: E402
from segmodels.layers.sizes import CropToImage, PadToStride  # noqa: E402
from segmodels.layers.unpooling import MaxPoolingWithIndices, MaxUnpooling  # noqa: E402


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_a_transposed_convolution_is_the_transpose_of_the_convolutions_matrix():
    kernel = noise(3, 3, 1, 1)
    # Column by column: what a valid 3 × 3 convolution makes of each unit image, 4 × 4 → 2 × 2.
    matrix = np.zeros((4, 16), np.float32)
    for i, unit in enumerate(np.eye(16)):
        matrix[:, i] = signal.correlate2d(unit.reshape(4, 4), kernel[..., 0, 0], mode="valid").ravel()
    x = noise(4, 4, seed=1)
    down = keras.layers.Conv2D(1, 3, use_bias=False)
    down.build((None, 4, 4, 1))
    down.set_weights([kernel])
    small = np.asarray(down(x[None, ..., None]))[0, ..., 0]
    np.testing.assert_allclose(small.ravel(), matrix @ x.ravel(), atol=1e-5)
    up = keras.layers.Conv2DTranspose(1, 3, use_bias=False)
    up.build((None, 2, 2, 1))
    up.set_weights([kernel])
    large = np.asarray(up(small[None, ..., None]))[0, ..., 0]
    assert large.shape == (4, 4)
    np.testing.assert_allclose(large.ravel(), matrix.T @ small.ravel(), atol=1e-5)
    assert not np.allclose(large, x, atol=0.1)  # the shape comes back, the image does not


def test_unpooling_restores_positions_exactly():
    x = noise(2, 6, 10, 3)
    top, place = (np.asarray(t) for t in MaxPoolingWithIndices()(x))
    back = np.asarray(MaxUnpooling()([top, place]))
    expected = np.zeros_like(x)
    for b, i, j, c in np.ndindex(2, 3, 5, 3):
        window = x[b, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c]
        dy, dx = divmod(int(window.argmax()), 2)
        assert place[b, i, j, c] == 2 * dy + dx
        expected[b, 2 * i + dy, 2 * j + dx, c] = window.max()
    np.testing.assert_array_equal(back, expected)


def test_of_equal_maxima_the_first_counts_and_other_values_go_there_too():
    top, place = MaxPoolingWithIndices()(np.full((1, 2, 4, 1), -3, np.float32))
    assert np.asarray(place).ravel().tolist() == [0, 0]
    assert np.asarray(top).ravel().tolist() == [-3, -3]
    other = np.array([5, np.nan], np.float32).reshape(1, 1, 2, 1)
    back = np.asarray(MaxUnpooling()([other, np.array([3, 1], np.float32).reshape(1, 1, 2, 1)]))[0, ..., 0]
    np.testing.assert_array_equal(back, [[0, 0, 0, np.nan], [0, 5, 0, 0]])


def test_an_atrous_convolution_is_one_with_a_dilated_kernel():
    kernel, x = noise(3, 3, 2, 1), noise(1, 19, 23, 2, seed=1)
    for rate in (2, 6):
        layer = keras.layers.Conv2D(1, 3, dilation_rate=rate, padding="same", use_bias=False)
        layer.build(x.shape)
        layer.set_weights([kernel])
        wide = np.zeros((2 * rate + 1, 2 * rate + 1, 2))
        wide[::rate, ::rate] = kernel[..., 0]
        expected = sum(signal.correlate2d(x[0, ..., c], wide[..., c], mode="same") for c in range(2))
        np.testing.assert_allclose(np.asarray(layer(x))[0, ..., 0], expected, atol=1e-5)


@pytest.mark.parametrize("factor", [2, 8, 32])
def test_a_bilinear_kernel_enlarges_bilinearly(factor):
    layer = keras.layers.Conv2DTranspose(
        2, 2 * factor, strides=factor, padding="same", use_bias=False, kernel_initializer=Bilinear()
    )
    x = noise(1, 4, 5, 2)
    found = np.asarray(layer(x))[0]
    at = np.meshgrid(*((np.arange(n * factor) + 0.5) / factor - 0.5 for n in (4, 5)), indexing="ij")
    for c in range(2):
        expected = ndimage.map_coordinates(x[0, ..., c], at, order=1, mode="nearest")
        inside = (slice(factor, -factor),) * 2  # beyond the outermost centres it fades to zero
        np.testing.assert_allclose(found[..., c][inside], expected[inside], atol=1e-5)


@pytest.mark.parametrize(("size", "wanted"), [((3, 5), (12, 20)), ((1, 1), (4, 7)), ((9, 8), (4, 8))])
def test_resizing_is_linear_between_pixel_centres(size, wanted):
    x = noise(2, *size, 3)
    found = np.asarray(ResizeLike()([x, np.zeros((2, *wanted, 1), np.float32)]))
    at = np.meshgrid(
        *((np.arange(m) + 0.5) * n / m - 0.5 for n, m in zip(size, wanted, strict=True)), indexing="ij"
    )
    for b, c in np.ndindex(2, 3):
        expected = ndimage.map_coordinates(x[b, ..., c], at, order=1, mode="nearest")
        np.testing.assert_allclose(found[b, ..., c], expected, atol=1e-5)


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [(1, 1), (5, 13), (12, 6)])
def test_adaptive_pooling_takes_means_of_cells(size, bins):
    x = noise(1, *size, 2)
    found = np.asarray(AdaptiveAveragePooling(bins)(x))
    assert found.shape == (1, bins, bins, 2)
    cells = [
        [slice(math.floor(i * n / bins), math.ceil((i + 1) * n / bins)) for i in range(bins)] for n in size
    ]
    for i, j in np.ndindex(bins, bins):
        np.testing.assert_allclose(
            found[0, i, j], x[0, cells[0][i], cells[1][j]].mean(axis=(0, 1)), atol=1e-5
        )


def test_padding_comes_after_the_image_and_a_crop_takes_it_away():
    x = noise(1, 5, 8, 7, 2)
    padded = np.asarray(PadToStride((4, 4, 1))(x))
    assert padded.shape == (1, 8, 8, 7, 2)
    np.testing.assert_array_equal(padded[:, :5], x)
    assert not padded[:, 5:].any()
    np.testing.assert_array_equal(np.asarray(CropToImage((1, 1, 1))([padded, x])), x)
    coarse = np.asarray(CropToImage((2, 4, 1))([padded, x]))
    np.testing.assert_array_equal(coarse, padded[:, :3, :2])
    fitting = noise(1, 8, 4, 1)
    np.testing.assert_array_equal(np.asarray(PadToStride((4, 2))(fitting)), fitting)
