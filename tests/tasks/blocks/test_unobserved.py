"""Pixels that a validity mask hides: a code of their own, and otherwise as if they had no data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from tasks.imagery.protocol import Pixels
from tasks.imagery.views.coarsened import CoarsenedImage
from tasks.imagery.views.crop import CroppedImage
from tasks.imagery.views.shared import SharedImage
from tasks.planning.statistics import image_statistics
from tests.tasks.whole_run import plan_for, segment_all, stitched

SHAPE = (41, 53)


class Hidden:
    """An image in memory with pixels that its validity mask hides."""

    def __init__(self, image: Any, hidden: Any) -> None:
        self._image, self._hidden = image, hidden & image.valid
        self.info = image.info

    def read(self, window: Any) -> Pixels:
        pixels, hidden = self._image.read(window), self._hidden[window]
        return Pixels(pixels.values, pixels.valid & ~hidden, hidden)

    def close(self) -> None: ...


@pytest.fixture
def scene(array_image: Any) -> tuple[Any, Any, Any, Any]:
    """Values, nodata, hidden pixels; a third of both kinds lie together."""
    random = np.random.default_rng(5)
    values = random.integers(1, 200, (*SHAPE, 2)).astype(np.uint8)
    nodata = random.random(SHAPE) < 0.1
    hidden = random.random(SHAPE) < 0.2
    hidden[:9, :9] = True  # the whole first tile
    nodata[30:, 40:] = True
    hidden[28:34, 38:44] = True
    return values, nodata, hidden, array_image(values, valid=~nodata)


def blurred(tile: Any) -> Any:
    """Three classes by a neighbourhood, so that what hidden pixels enter as matters."""
    mean = uniform_filter(tile.sum(axis=-1), 3, mode="constant")
    return np.stack([mean, 1.5 - mean, 2 * mean - 1], axis=-1)


def run(image: Any, card: Any, engine: Any, folder: Path, **how: Any) -> tuple[Any, Any, Any]:
    plan = plan_for(image, card, folder, **how)
    segment_all(plan, image, engine, folder)
    return stitched(plan, folder)


@pytest.mark.parametrize("block", [8, 16, 64])
def test_hidden_pixels_are_unobserved_and_all_else_as_if_they_were_nodata(
    scene: Any, array_image: Any, function_engine: Any, make_card: Any, tmp_path: Path, block: int
) -> None:
    values, nodata, hidden, image = scene
    card = make_card(channels=2, ndims=(2,), normalise=({"kind": "zscore"},))
    engine = function_engine(blurred)
    codes, confidence, _ = run(Hidden(image, hidden), card, engine, tmp_path / "a", block=block, overlap=0.25)
    both, sure, _ = run(
        array_image(values, valid=~(nodata | hidden)), card, engine, tmp_path / "b", overlap=0.25
    )
    assert (codes[nodata] == 255).all()
    assert (codes[hidden & ~nodata] == 253).all()
    seen = ~nodata & ~hidden
    np.testing.assert_array_equal(codes[seen], both[seen])
    np.testing.assert_array_equal(confidence, sure)
    assert set(np.unique(both[seen])) == {0, 1, 2}


def test_unobserved_beats_failed(scene: Any, function_engine: Any, make_card: Any, tmp_path: Path) -> None:
    _, nodata, hidden, image = scene

    def broken(tile: Any) -> Any:
        return np.full((*tile.shape[:-1], 3), np.nan)

    card = make_card(channels=2, ndims=(2,))
    codes, _, _ = run(Hidden(image, hidden), card, function_engine(broken), tmp_path / "a")
    np.testing.assert_array_equal(codes, np.where(nodata, 255, np.where(hidden, 253, 254)))


def test_hidden_pixels_leave_the_statistics(scene: Any) -> None:
    values, nodata, hidden, image = scene
    seen = ~nodata & ~hidden
    for c, channel in enumerate(image_statistics(Hidden(image, hidden))):
        mean, std = channel.mean_std()
        assert channel.valid == seen.sum()
        assert mean == pytest.approx(values[seen][:, c].mean(), abs=1e-9)
        assert std == pytest.approx(values[seen][:, c].std(), abs=1e-9)


def test_views_keep_what_is_hidden(scene: Any) -> None:
    _, nodata, hidden, image = scene
    expected = hidden & ~nodata
    window = (slice(3, 30), slice(5, 50))
    whole = (slice(0, 41), slice(0, 53))
    shown = SharedImage(Hidden(image, hidden), [window], limit=1 << 20).read(window)
    np.testing.assert_array_equal(shown.unobserved, expected[window])
    part = CroppedImage(Hidden(image, hidden), window).read((slice(1, 4), slice(2, 9)))
    np.testing.assert_array_equal(part.unobserved, expected[4:7, 7:14])
    means = CoarsenedImage(Hidden(image, hidden), (5, 7)).read((slice(0, 9), slice(0, 8)))
    padded = np.zeros((45, 56), bool)
    known = padded.copy()
    padded[whole], known[whole] = expected, ~nodata & ~hidden
    boxes, any_known = (a.reshape(9, 5, 8, 7).swapaxes(1, 2).any(axis=(2, 3)) for a in (padded, known))
    np.testing.assert_array_equal(means.unobserved, boxes & ~any_known)
    np.testing.assert_array_equal(means.valid, any_known)
