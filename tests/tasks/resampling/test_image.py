"""An image on a lattice: scipy's values, the same bits by any window, in its place in the world."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segmodels.bundles.card import Card
from tasks.imagery.volume.orientation import world
from tasks.resampling import image as module
from tasks.resampling.choose import resampling_of, too_coarse
from tasks.resampling.grid import sampled_info
from tasks.resampling.image import ResampledImage
from tests.tasks.resampling.on_lattice import by_scipy, spaced

SHAPE, HAVE, WANT = (11, 24, 19), (2.5, 0.8, 1.1), (1.7, 2.1, 1.1)


@pytest.fixture
def card(make_card) -> Card:
    return make_card(2, ndims=(3,), spacing=WANT)


def test_values_are_scipys(card) -> None:
    values = np.random.default_rng(0).normal(size=(*SHAPE, 2)).astype(np.float32)
    image = spaced(values, HAVE)
    lattice = resampling_of(image.info, card, spacing="card")
    seen = ResampledImage(image, lattice)
    assert seen.info.shape == (16, 9, 19)
    pixels = seen.read(tuple(slice(0, n) for n in seen.info.shape))
    assert pixels.valid.all()
    for c in range(2):
        expected = by_scipy(values[..., c], seen.info.shape, [w / h for w, h in zip(WANT, HAVE, strict=True)])
        np.testing.assert_allclose(pixels.values[..., c], expected, atol=1e-5)


@pytest.mark.parametrize("piece", [1 << 20, 300])
def test_no_window_changes_a_bit(card, piece, monkeypatch) -> None:
    monkeypatch.setattr(module, "PIECE", piece)
    rng = np.random.default_rng(1)
    values = rng.normal(size=(*SHAPE, 1)).astype(np.float32)
    valid = rng.random(SHAPE) > 0.2
    values[~valid] = np.nan
    image = spaced(values, HAVE, valid=valid)
    seen = ResampledImage(image, resampling_of(image.info, card, spacing="card"))
    monkeypatch.setattr(module, "PIECE", 1 << 20)
    whole = seen.read(tuple(slice(0, n) for n in seen.info.shape))
    monkeypatch.setattr(module, "PIECE", piece)
    assert 0.6 < whole.valid.mean() < 0.95
    for _ in range(20):
        ends = [sorted(rng.choice(n + 1, 2, replace=False)) for n in seen.info.shape]
        window = tuple(slice(int(a), int(b)) for a, b in ends)
        part = seen.read(window)
        assert part.values.tobytes() == np.ascontiguousarray(whole.values[window]).tobytes()
        np.testing.assert_array_equal(part.valid, whole.valid[window])


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1)])
def test_a_lattice_begins_at_the_images_corner(card, flips) -> None:
    image = spaced(np.zeros((*SHAPE, 1), np.float32), HAVE)
    turn = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([f * s for f, s in zip(flips, reversed(HAVE), strict=True)])
    affine[:3, 3] = 11, -7, 30
    info = replace(image.info, grid={**image.info.grid, "affine": affine.tolist()})
    lattice = resampling_of(info, card, spacing="card")
    seen = sampled_info(info, lattice)
    corner = world(info, [[-0.5, -0.5, -0.5]])
    np.testing.assert_allclose(world(seen, [[-0.5, -0.5, -0.5]]), corner, atol=1e-9)
    # a step of the lattice's pixels is as long as the model's
    ends = world(seen, np.eye(3) - 0.5) - corner
    np.testing.assert_allclose(np.linalg.norm(ends, axis=1), WANT, rtol=1e-9)


@pytest.mark.parametrize(
    ("asked", "have", "steps"),
    [
        ("card", (1.7, 2.1, 1.1), None),
        ("card", (1.72, 2.08, 1.1), None),
        ("native", HAVE, None),
        ("card", (1.7, 2.1, 1.0), (1.0, 1.0, 1.1)),
        ("card", (0.0, 2.1, 1.0), None),
    ],
)
def test_a_lattice_is_for_another_known_spacing(card, asked, have, steps) -> None:
    image = spaced(np.zeros((*SHAPE, 1), np.float32), have)
    found = resampling_of(image.info, card, spacing=asked)
    assert (found and found.steps) == (steps and pytest.approx(steps))


def test_pixels_too_large_make_a_run_suspect(make_card) -> None:
    card = make_card(2, ndims=(2,), spacing=(0.6, 0.6))
    coarse, fine = (
        resampling_of(spaced(np.zeros((9, 9, 1), np.uint8), (s, s)).info, card, spacing="card")
        for s in (30.0, 2.0)
    )
    assert too_coarse(fine, card) == ()
    (said,) = too_coarse(coarse, card)
    assert said.startswith("the image is sampled at 0.6 × 0.6 m (y, x) from 30 × 30 m: ")
