"""Per-pixel methods against arithmetic done by hand."""

import numpy as np
import pytest
from pydantic import ValidationError

from segmodels.bundles.bundle import load_bundle
from segmodels.methods.method import Linear, NormalisedDifference


def test_linear_by_hand():
    method = Linear(weights=((1, 2), (0, -0.5), (0, 0)), bias=(0.5, 1, 3))
    out = method.logits(np.float32([[[3, 4]], [[-1, 0]]]))
    assert out.dtype == np.float32
    assert out.tolist() == [[[11.5, -1, 3]], [[-0.5, 1, 3]]]


def test_unit_matrix_is_the_identity_and_zero_weights_a_constant():
    x = np.random.default_rng(0).normal(size=(2, 5, 7, 3)).astype(np.float32)
    identity = Linear(weights=((1, 0, 0), (0, 1, 0), (0, 0, 1)), bias=(0, 0, 0))
    np.testing.assert_array_equal(identity.logits(x), x)
    x[0, 0, 0, 1] = np.inf
    constant = Linear(weights=((0, 0, 0), (0, 0, 0)), bias=(-2, 7))
    np.testing.assert_array_equal(constant.logits(x), np.broadcast_to(np.float32([-2, 7]), (2, 5, 7, 2)))


def test_normalised_difference_by_hand():
    method = NormalisedDifference(a=1, b=0, threshold=0.25, sharpness=8)
    x = np.float32([[1, 3], [3, 1], [0, 0], [2, 2], [-1, 2], [5, -5]])
    # index: 0.5, -0.5, 0 (0/0), 0, 3 clipped to 1, 0 (x/0)
    assert method.logits(x)[..., 0].tolist() == [2, -6, -2, -2, 6, -2]


def test_a_pixel_does_not_depend_on_its_tile():
    x = np.random.default_rng(1).uniform(0, 255, (3, 32, 33, 4)).astype(np.float32)
    weights = tuple(map(tuple, np.random.default_rng(2).normal(size=(2, 4)).tolist()))
    for method in (Linear(weights=weights, bias=(0.1, 0.2)), NormalisedDifference(a=1, b=3)):
        whole = method.logits(x)
        np.testing.assert_array_equal(method.logits(x[1:2, 5:6, 7:9]), whole[1:2, 5:6, 7:9])


@pytest.mark.parametrize(
    ("weights", "bias"), [(((1, 2), (1,)), (0, 0)), (((1, 2),), (0, 0)), (((float("nan"),),), (0,))]
)
def test_malformed_weights_are_refused(weights, bias):
    with pytest.raises(ValidationError):
        Linear(weights=weights, bias=bias)


def test_a_method_must_fit_its_card():
    card = load_bundle("water-ndwi").card
    with pytest.raises(ValueError, match="2×1"):
        Linear(weights=((1,), (1,)), bias=(0, 0)).check(card)
    with pytest.raises(ValueError, match="channel 4"):
        NormalisedDifference(a=4, b=0).check(card)
