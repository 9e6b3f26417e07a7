"""Receptive radii of linear filters, whose impulse response is known."""

import numpy as np
import pytest
from scipy import ndimage

from segmodels.receptive import receptive_radius

GOLDEN = np.random.default_rng(0).normal(size=(2, 9, 10, 2)).astype(np.float32)


def filtered(kernel):
    """A one-logit model: the sum of the channels, filtered."""
    return lambda x: ndimage.convolve(x[0].sum(-1), kernel, mode="constant")[None, ..., None]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 7), (9, 1)])
def test_a_flat_filter_has_its_own_half_width(rows, columns):
    found = receptive_radius(filtered(np.ones((rows, columns))), GOLDEN, tile=(48, 64), stride=1)
    assert found == (rows // 2, columns // 2)


def test_the_energy_decides_not_the_support():
    # Squares 1, 0.01, 0.0001: 99 % of the energy lies within one pixel, 98 % at the pixel itself.
    kernel = np.array([[0.01, 0.1, 1.0, 0.1, 0.01]])
    model = filtered(kernel)
    shares = np.cumsum([1, 0.02, 0.0002]) / 1.0202
    assert receptive_radius(model, GOLDEN, tile=(8, 32), stride=1) == (0, 1)
    assert receptive_radius(model, GOLDEN, tile=(8, 32), stride=1, energy=float(shares[0]) - 1e-3) == (0, 0)
    assert receptive_radius(model, GOLDEN, tile=(8, 32), stride=1, energy=float(shares[1]) + 1e-5) == (0, 2)


def test_every_phase_of_the_stride_is_seen():
    def pooled(x):
        small = x[0].sum(-1).reshape(8, 4, 8, 4).mean((1, 3))
        return np.repeat(np.repeat(small, 4, 0), 4, 1)[None, ..., None]

    assert receptive_radius(pooled, GOLDEN, tile=(32, 32), stride=4, energy=0.9999) == (3, 3)


def test_three_axes_and_no_effect_at_all():
    golden = np.zeros((1, 4, 4, 4, 1), np.float32)  # of no spread of its own
    kernel = np.ones((5, 3, 1))
    assert receptive_radius(filtered(kernel), golden, tile=(16, 16, 16), stride=2) == (2, 1, 0)
    assert receptive_radius(lambda x: np.zeros_like(x), golden, tile=(8, 8, 8), stride=2) == (0, 0, 0)


def test_the_same_every_time_and_bounded_in_size():
    shapes = []

    def model(x):
        shapes.append(x.shape)
        return np.tanh(filtered(np.hanning(9)[:, None] * np.hanning(5))(x))

    first = receptive_radius(model, GOLDEN, tile=(48, 32), stride=1)
    assert receptive_radius(model, GOLDEN, tile=(48, 32), stride=1) == first
    assert 2 <= first[0] <= 4
    shapes.clear()
    receptive_radius(lambda x: shapes.append(x.shape) or x, GOLDEN, tile=(4096, 2048), stride=32, seeds=1)
    _, height, width, _ = shapes[0]
    assert height * width <= 1 << 20
    assert height % 32 == width % 32 == 0


def test_what_a_whole_face_does_counts_too():
    """A faint blur over 15 pixels along one axis and 31 across it: lost for one pixel, not for a plane of them."""
    kernel = np.full((31, 15), 0.002)
    kernel[15, 7] = 1.0  # one pixel: 1 against 464 · 4e-6 = 0.002 of energy beside it
    found = receptive_radius(filtered(kernel), GOLDEN, tile=(64, 64), stride=1)
    # A plane across the second axis: 1.062 at its place, 0.062 at up to 7 pixels; 1 % of 1.182 is three of these.
    assert found[1] == 6
    # Across the first: 1.028 at its place, 0.03 at up to 15 pixels; 1 % of 1.084 is twelve of these.
    assert found[0] == 9
