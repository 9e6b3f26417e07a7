"""Tiles stay inside their areas, image and labels move together, training repeats itself."""

from __future__ import annotations

import numpy as np
import pytest

from segmodels.normalise import Normaliser
from segmodels.training.augment import affine, bias_field, colour, compose, flip, gamma, noise
from segmodels.training.sampler import EDGES, TileSampler
from segmodels.training.scoring import predict_codes
from segmodels.training.statistics import Histogram

RNG = np.random.default_rng(0)


def scene() -> tuple[np.ndarray, np.ndarray]:
    """An image whose two channels are its own row and column."""
    rows, columns = np.meshgrid(np.arange(40), np.arange(60), indexing="ij")
    labels = np.zeros((40, 60), np.uint8)
    labels[30, 50] = 2
    labels[:, 5] = 1
    return np.stack([rows, columns], axis=-1).astype(np.int16), labels


def test_tiles_never_leave_their_areas() -> None:
    image, labels = scene()
    areas = [(slice(0, 40), slice(0, 20)), (slice(8, 30), slice(40, 60))]
    for focus in ({}, {1: 0.5}, {EDGES: 1.0}):
        sampler = TileSampler(image, labels, tile=(8, 10), areas=areas, focus=focus, seed=1)
        seen = set()
        for _ in range(200):
            tile, codes = sampler.draw()
            assert tile.shape == (8, 10, 2)
            assert codes.shape == (8, 10)
            inside = [
                i
                for i, (r, c) in enumerate(areas)
                if tile[..., 0].min() >= r.start
                and tile[..., 0].max() < r.stop
                and tile[..., 1].min() >= c.start
                and tile[..., 1].max() < c.stop
            ]
            assert len(inside) == 1
            seen.add(inside[0])
            r, c = tile[0, 0]
            np.testing.assert_array_equal(codes, labels[r : r + 8, c : c + 10])
        assert 0 in seen


def test_focus_puts_its_pixel_in_the_tile_at_many_places() -> None:
    image, labels = scene()
    whole = [(slice(0, 40), slice(0, 60))]
    sampler = TileSampler(image, labels, tile=(8, 10), areas=whole, focus={2: 1.0})
    places = {tuple(int(v) for v in np.argwhere(sampler.draw()[1] == 2)[0]) for _ in range(300)}
    assert len(places) > 50


def test_focus_share_is_kept() -> None:
    image, labels = scene()
    whole = [(slice(0, 40), slice(0, 60))]
    sampler = TileSampler(image, labels, tile=(2, 2), areas=whole, focus={2: 0.3}, seed=4)
    assert np.mean([(sampler.draw()[1] == 2).any() for _ in range(2000)]) == pytest.approx(0.3, abs=0.04)


def test_edges_are_where_labels_change() -> None:
    image, labels = scene()
    sampler = TileSampler(
        image, labels, tile=(1, 2), areas=[(slice(0, 40), slice(0, 60))], focus={EDGES: 1.0}, seed=2
    )
    found = [tuple(int(v) for v in sampler.draw()[0][0, 0]) for _ in range(400)]
    assert {c for _, c in found} <= {3, 4, 5, 48, 49, 50}


def test_the_same_seed_gives_the_same_tiles() -> None:
    image, labels = scene()
    make = lambda seed: TileSampler(  # noqa: E731
        image, labels, tile=(4, 4), areas=[(slice(0, 40), slice(0, 60))], focus={1: 0.5}, seed=seed
    )
    first, second, other = ([make(s).draw()[0].tolist() for _ in range(3)] for s in (7, 7, 8))
    assert first == second != other


def test_impossible_areas_and_shares_are_refused() -> None:
    image, labels = scene()
    with pytest.raises(ValueError, match="smaller than the tile"):
        TileSampler(image, labels, tile=(8, 8), areas=[(slice(0, 7), slice(0, 60))])
    with pytest.raises(ValueError, match="exceed 1"):
        TileSampler(image, labels, tile=(8, 8), areas=[(slice(0, 40), slice(0, 60))], focus={1: 0.6, 2: 0.6})


@pytest.mark.parametrize("shape", [(24, 30), (12, 14, 16)])
def test_geometry_moves_image_and_labels_together(shape) -> None:  # type: ignore[no-untyped-def]
    labels = np.zeros(shape, np.uint8)
    labels[tuple(slice(n // 4, n // 2) for n in shape)] = 1
    image = labels[..., None].astype(np.float32)
    step = compose(flip(*range(len(shape))), affine(zoom=0.2, rotate=0.3, probability=1.0))
    for seed in range(6):
        moved, codes = step(image, labels, np.random.default_rng(seed))
        assert moved.shape == image.shape
        assert set(np.unique(codes)) <= {0, 1}
        # linear image above one half and nearest labels differ at borders only
        assert ((moved[..., 0] > 0.5) != (codes == 1)).mean() < 0.03
        assert (codes == 1).sum() > 0


def test_flip_happens_half_of_the_time_along_each_axis() -> None:
    image = np.arange(4, dtype=np.float32).reshape(2, 2, 1)
    labels = np.arange(4).reshape(2, 2)
    rng = np.random.default_rng(0)
    corners = [int(flip(0, 1)(image, labels, rng)[1][0, 0]) for _ in range(400)]
    assert all(corners.count(k) > 60 for k in range(4))


def test_intensity_steps_stay_within_what_they_say_and_leave_labels_alone() -> None:
    image = RNG.uniform(1, 255, (20, 20, 3)).astype(np.float32)
    labels = RNG.integers(0, 3, (20, 20))
    for seed in range(5):
        rng = np.random.default_rng(seed)
        ratio = colour(gain=0.1)(image, labels, rng)[0] / image
        assert ratio.min() >= 0.9 - 1e-6
        assert ratio.max() <= 1.1 + 1e-6
        assert np.ptp(ratio, axis=(0, 1)).max() < 1e-5, "one factor per channel"
        ratio = bias_field(0.3)(image, labels, rng)[0] / image
        assert ratio.min() >= 0.7 - 1e-6
        assert ratio.max() <= 1.3 + 1e-6
        assert np.abs(np.diff(ratio, axis=0)).max() < 0.15, "smooth"
        bent, same = gamma(0.7, 1.4, full=255)(image, labels, rng)
        power = np.log(bent / 255) / np.log(image / 255)
        assert 0.69 < np.median(power) < 1.41
        assert np.ptp(power[image < 250]) < 1e-2
        assert same is labels
        assert np.std(noise(2.0)(image, labels, rng)[0] - image) <= 2.2


def test_background_zero_stays_zero_under_gamma_and_bias() -> None:
    image = np.zeros((6, 6, 6, 1), np.float32)
    step = compose(gamma(0.7, 1.4, full=255), bias_field(0.3))
    assert not step(image, image[..., 0], np.random.default_rng(1))[0].any()


def test_histogram_statistics_equal_numpys() -> None:
    values = RNG.integers(0, 50, 1000).astype(np.uint8)
    histogram = Histogram.of(values)
    assert histogram.mean_std() == pytest.approx((values.mean(), values.std()))
    above = values[values > 10]
    assert histogram.mean_std(above=10) == pytest.approx((above.mean(), above.std()))
    assert histogram.percentile(35) == np.percentile(values, 35, method="inverted_cdf")
    assert histogram.percentile(98, above=10) == np.percentile(above, 98, method="inverted_cdf")
    assert histogram.mean_std(above=99) == (0, 0)
    squared = histogram.mapped(histogram.values**2)
    assert squared.mean_std()[0] == pytest.approx((values.astype(float) ** 2).mean())


def pointwise(channels: int):  # type: ignore[no-untyped-def]
    import keras

    inputs = keras.Input((None, None, channels))
    logits = keras.layers.Conv2D(2, 1, use_bias=False, kernel_initializer="ones")(inputs)
    model = keras.Model(inputs, logits)
    kernel = np.zeros((1, 1, channels, 2), np.float32)
    kernel[0, 0, 0, 1] = 1
    model.set_weights([kernel])
    return model


IDENTITY = Normaliser((-np.inf,), (np.inf,), (0.0,), (1.0,))


@pytest.mark.parametrize("shape", [(1, 1), (7, 13), (16, 24), (33, 9)])
def test_whole_image_prediction_covers_every_pixel(shape) -> None:  # type: ignore[no-untyped-def]
    image = RNG.normal(size=(*shape, 1)).astype(np.float32)
    codes = predict_codes(pointwise(1), image, normalise=IDENTITY, tile=(12, 12), halo=(2, 2), batch=3)
    np.testing.assert_array_equal(codes, image[..., 0] > 0)


def test_the_halo_of_a_wrapping_axis_comes_from_the_other_end() -> None:
    import keras

    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 3, padding="same", use_bias=False)(inputs))
    kernel = np.zeros((3, 3, 1, 2), np.float32)
    kernel[1, 0, 0, 1] = 1  # class 1 where the left neighbour is positive
    model.set_weights([kernel])
    image = RNG.normal(size=(10, 20, 1)).astype(np.float32)
    codes = predict_codes(model, image, normalise=IDENTITY, tile=(8, 8), halo=(2, 2), wraps=(False, True))
    np.testing.assert_array_equal(codes, np.roll(image[..., 0], 1, axis=1) > 0)


@pytest.mark.slow
def test_training_repeats_itself_and_learns() -> None:
    from segmodels.losses import SparseCrossEntropy
    from segmodels.registry import build
    from segmodels.training.loop import Schedule, seed_everything, train

    labels = np.zeros((32, 32), np.uint8)
    labels[8:20, 8:28] = 1
    image = (labels[..., None] * 100 + RNG.normal(0, 20, (32, 32, 1))).astype(np.float32)
    normalise = Normaliser((-np.inf,), (np.inf,), (50.0,), (0.02,))

    def once() -> tuple[list[float], np.ndarray]:
        seed_everything(5)
        model = build("unet", channels=1, classes=2, filters=(4, 6))
        sampler = TileSampler(image, labels, tile=(16, 16), areas=[(slice(0, 32), slice(0, 32))], seed=5)
        losses: list[float] = []
        train(
            model,
            sampler,
            normalise=normalise,
            loss=SparseCrossEntropy(),
            schedule=Schedule(steps=30, batch=2, learning_rate=2e-2, warmup=5, frozen=0.2),
            augment=flip(0, 1),
            seed=5,
            progress=lambda step, steps, loss: losses.append(loss),
            every=10,
        )
        codes = predict_codes(model, image, normalise=normalise, tile=(32, 32), halo=(8, 8))
        return losses, codes

    first, codes = once()
    second, again = once()
    assert first == second
    np.testing.assert_array_equal(codes, again)
    assert len(first) == 3
    assert first[-1] < first[0]
    assert (codes == labels).mean() > 0.95
