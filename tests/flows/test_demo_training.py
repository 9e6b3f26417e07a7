"""The recipes' own parts: where they train, and what the back of the head looks like to them."""

from __future__ import annotations

import numpy as np

from flows.demo import brain_training, earth, earth_training
from flows.demo.brain_training import Heads, Recipe, random_field
from flows.demo.cards import brain_card, earth_card
from segmodels.architectures.unet import stride_of
from segmodels.normalise import make_normaliser
from segmodels.training.statistics import Histogram


def test_no_training_voxel_is_within_a_training_tile_of_a_scored_one():
    rng = np.random.default_rng(0)
    t1 = rng.integers(0, 256, (96, 233, 96)).astype(np.uint8)
    heads = Heads(t1, (t1 > 100).astype(np.uint8), card=brain_card(), recipe=Recipe(copies=2), seed=0)
    image, labels = heads.draw()
    assert image.shape == (*labels.shape, 1) == (*brain_training.TILE, 1)
    assert brain_training.SCORED.start - brain_training.TRAINED.stop >= labels.shape[1]
    assert brain_training.TRAINED.stop <= brain_training.VALIDATED.start
    assert brain_training.VALIDATED.stop <= brain_training.SCORED.start


def test_the_validation_band_lies_in_the_west():
    assert 0 < earth_training.EARTH_VALIDATION.start < earth_training.EARTH_VALIDATION.stop < earth.EAST


def test_cards_and_tiles_fit_the_networks_stride():
    assert earth_card().stride == stride_of(earth_training.EARTH_FILTERS)
    assert all(t % earth_card().stride == 0 for c in earth_training.EARTH_CYCLES for t in c.tile)
    assert brain_card().stride == stride_of(brain_training.FILTERS)


def test_tiles_come_from_the_slab_normalised_by_the_whole_head():
    rng = np.random.default_rng(1)
    t1 = rng.integers(0, 256, (64, 233, 64)).astype(np.uint8)
    truth = (t1 // 86).astype(np.uint8)
    recipe = Recipe(copies=2, bent=0.0, shaded=0.0)
    heads = Heads(t1, truth, card=brain_card(), recipe=recipe, seed=0)
    whole = make_normaliser(brain_card(), [Histogram.of(t1)])(t1[..., None])[..., 0]
    for _ in range(5):
        image, labels = heads.draw()
        # A label decides the range of its value, so image and label moved together …
        for code in range(3):
            found = image[..., 0][labels == code]
            expected = whole[truth == code]
            assert expected.min() - 0.02 <= found.min() <= found.max() <= expected.max() + 0.02
    # … and a tile is a piece of the trained slab, perhaps mirrored or with z and x exchanged.
    corner = whole[:, brain_training.TRAINED]
    windows = np.lib.stride_tricks.sliding_window_view(corner, (2, 2, 2))
    tile = image[..., 0]
    for turned in (tile, tile.transpose(2, 1, 0)):
        flips = [turned[::a, ::b, ::c] for a in (1, -1) for b in (1, -1) for c in (1, -1)]
        if any(np.abs(windows - f[:2, :2, :2]).max(axis=(3, 4, 5)).min() < 0.02 for f in flips):
            break
    else:
        raise AssertionError("the tile is not in the trained slab")


def test_a_field_is_smooth_and_within_its_strength():
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in (40, 30, 20)]
    for seed in range(5):
        field = random_field(0.3, np.random.default_rng(seed))(axes)
        assert field.shape == (40, 30, 20)
        assert 0.68 <= field.min() < field.max() <= 1.32
        assert np.abs(np.diff(field, axis=0)).max() < 0.05
