"""The U-Net with surroundings: shapes, logits, and how far it sees."""

from __future__ import annotations

import numpy as np
import pytest

from segmodels.registry import build


@pytest.mark.parametrize("ndims", [2, 3])
def test_output_has_the_shape_of_the_input(ndims):
    model = build("context_unet", channels=2, classes=4, ndim=ndims, filters=(4, 6, 8), surroundings=4)
    shape = (1, *(8, 12, 16)[:ndims], 2)
    assert model(np.zeros(shape, np.float32)).shape == (*shape[:-1], 4)


def test_a_distant_change_matters_through_the_surroundings_only():
    import keras

    keras.utils.set_random_seed(0)
    model = build("context_unet", channels=1, classes=2, ndim=2, filters=(4, 6, 8), surroundings=4)
    x = np.random.default_rng(0).random((1, 128, 128, 1)).astype(np.float32)
    changed = x.copy()
    changed[0, 84:92, 60:68] += 5
    effect = np.abs(np.asarray(model(changed)) - np.asarray(model(x))).max(axis=(0, 2, 3))
    assert effect[64] > 0  # twenty pixels away: beyond the shallow U-Net's own view of 22 / 2
    assert effect[:16].max() == 0


def test_too_few_levels_are_refused():
    with pytest.raises(ValueError, match="three levels"):
        build("context_unet", channels=1, classes=2, filters=(4, 8))
