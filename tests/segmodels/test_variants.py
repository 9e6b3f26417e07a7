"""Averages over mirrored and turned tiles, by arithmetic."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest

from segmodels.engines.variants import Variant, list_variants, with_variants
from segmodels.errors import EngineError


@dataclass
class Fake:
    """An engine that answers with a function of the batch."""

    answer: object
    name = precision = library = "fake"
    callers = 1
    runs = 0

    def logits(self, batch):
        assert batch.flags.c_contiguous
        self.runs += 1
        return np.asarray(self.answer(batch), np.float32)


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True, initial=-np.inf))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize(
    ("variants", "tile", "count"),
    [
        ("none", (4, 6), 1),
        ("flips", (4, 6), 4),
        ("full", (4, 4), 8),
        ("flips", (2, 4, 6), 8),
        ("full", (2, 4, 4), 16),
    ],
)
def test_each_symmetry_once_and_undone(variants, tile, count):
    x = noise((2, *tile, 3))
    seen = [v.apply(x) for v in list_variants(variants, tile)]
    assert len({a.tobytes() for a in seen}) == len(seen) == count
    np.testing.assert_array_equal(seen[0], x)
    for variant, a in zip(list_variants(variants, tile), seen, strict=True):
        np.testing.assert_array_equal(variant.undo(a), x)


def test_a_variant_by_hand():
    x = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)
    np.testing.assert_array_equal(Variant((1,)).apply(x)[0, ..., 0], [[1, 0], [3, 2]])
    np.testing.assert_array_equal(Variant((), 1).apply(x)[0, ..., 0], [[1, 3], [0, 2]])
    np.testing.assert_array_equal(Variant((0,), 1).apply(x)[0, ..., 0], [[3, 1], [2, 0]])


@pytest.mark.parametrize("variants", ["flips", "full"])
@pytest.mark.parametrize("ndims", [2, 3])
def test_an_equivariant_predictor_is_unchanged(variants, ndims):
    tile = (4,) * ndims
    weights = noise((2, 3), seed=2)
    engine = with_variants(Fake(lambda b: b @ weights), variants, tile=tile, sigmoid=False)
    x = noise((2, *tile, 2))
    out = engine.logits(x)
    assert out.dtype == np.float32
    assert out.flags.c_contiguous
    np.testing.assert_allclose(np.exp(out), softmax(x @ weights), atol=1e-6)
    single = with_variants(Fake(lambda b: b[..., :1]), variants, tile=tile, sigmoid=True).logits(x)
    assert single.shape == (2, *tile, 1)
    np.testing.assert_allclose(single, x[..., :1], atol=1e-5)


def test_certainty_keeps_its_size():
    for value in (-60.0, 60.0):
        engine = with_variants(
            Fake(lambda b, v=value: np.full_like(b, v)), "flips", tile=(2, 2), sigmoid=True
        )
        np.testing.assert_allclose(engine.logits(np.zeros((1, 2, 2, 1), np.float32)), value, rtol=1e-5)


def test_an_asymmetric_predictor_becomes_symmetric():
    tile = (3, 4)
    slope = noise((*tile, 3), seed=3)  # what it adds depends on the place alone
    x = noise((1, *tile, 3))
    fake = Fake(lambda b: b + slope)
    found = np.exp(with_variants(fake, "flips", tile=tile, sigmoid=False).logits(x))
    expected = np.zeros(found.shape)
    for up, left in product((1, -1), repeat=2):
        expected += softmax(x.astype(np.float64) + slope[::up, ::left]) / 4
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert fake.runs == 4
    mirrored = with_variants(fake, "flips", tile=tile, sigmoid=False).logits(x[:, ::-1].copy())
    np.testing.assert_allclose(np.exp(mirrored[:, ::-1]), found, atol=1e-6)


def test_quarter_turns_by_arithmetic():
    slope = noise((3, 3, 2), seed=4)
    x = np.zeros((1, 3, 3, 2), np.float32)
    found = np.exp(with_variants(Fake(lambda b: b + slope), "full", tile=(3, 3), sigmoid=False).logits(x))
    p = softmax(slope.astype(np.float64))
    sides = [np.rot90(q, k) for q in (p, p[::-1]) for k in range(4)]
    np.testing.assert_allclose(found[0], np.mean(sides, axis=0), atol=1e-6)


def test_a_tile_does_not_mind_its_place_in_the_batch():
    x = noise((3, 4, 4, 2))
    engine = with_variants(Fake(lambda b: b * b[..., ::-1]), "full", tile=(4, 4), sigmoid=False)
    out = engine.logits(x)
    np.testing.assert_array_equal(engine.logits(x[[2, 0, 1]]), out[[2, 0, 1]])


def test_none_is_the_engine_itself_and_oblong_tiles_cannot_turn():
    fake = Fake(lambda b: b)
    assert with_variants(fake, "none", tile=(2, 4), sigmoid=False) is fake
    with pytest.raises(EngineError, match="equal height and width, not 2×4"):
        with_variants(fake, "full", tile=(2, 4), sigmoid=False)
