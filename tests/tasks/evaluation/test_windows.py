"""Windows cover every pixel once, however they are cut; scores do not depend on them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from segmodels.metrics import ConfusionMatrix, mask_scores
from tasks.evaluation import counting, surfaces
from tasks.evaluation.counting import count_pair, windows
from tasks.evaluation.surfaces import item_surfaces
from tasks.imagery.protocol import ImageInfo, Window


class Held:
    """Codes in memory that note the largest window asked for."""

    name, nodata = "held", None
    info: ImageInfo | None = None

    def __init__(self, codes: np.ndarray, chunk: tuple[int, ...]) -> None:
        self.codes, self.chunk, self.shape, self.largest = codes, chunk, codes.shape, 0

    def read(self, window: Window) -> Any:
        part = self.codes[window]
        self.largest = max(self.largest, part.size)
        return part

    def close(self) -> None: ...


@given(
    shape=st.lists(st.integers(1, 40), min_size=2, max_size=3),
    chunk=st.lists(st.integers(1, 50), min_size=3, max_size=3),
    pixels=st.integers(1, 5000),
)
def test_windows_cover_every_pixel_once(shape: list[int], chunk: list[int], pixels: int) -> None:
    chunk = chunk[: len(shape)]
    seen = np.zeros(shape, int)
    least = math.prod(min(c, n) for c, n in zip(chunk, shape, strict=True))
    for window in windows(shape, chunk, pixels=pixels):
        seen[window] += 1
        assert seen[window].size <= max(pixels, least)
        assert all(w.start % min(c, n) == 0 for w, c, n in zip(window, chunk, shape, strict=True))
    assert (seen == 1).all()


def pair(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    noise = [ndimage.gaussian_filter(rng.normal(size=shape), 2.5) for _ in range(2)]
    truth = np.digitize(noise[0], np.quantile(noise[0], [0.4, 0.7])).astype(np.uint8)
    guess = np.where(noise[1] > np.quantile(noise[1], 0.8), (truth + 1) % 3, truth).astype(np.uint8)
    truth[:2], guess[-3:] = 255, 254
    return truth, guess


@pytest.mark.parametrize("threads", [1, 3])
def test_counts_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr(counting.windows, "__kwdefaults__", {"pixels": 300})
    truth, guess = pair((61, 83))
    t, p = Held(truth, (7, 16)), Held(guess, (16, 5))
    empty = ConfusionMatrix(3, missing=(254,))
    found = count_pair(t, p, empty, threads=threads)
    np.testing.assert_array_equal(
        found.columns, ConfusionMatrix(3, missing=(254,)).update(truth, guess).columns
    )
    assert empty.total == 0
    assert max(t.largest, p.largest) <= 300


@pytest.mark.parametrize("shape", [(61, 83), (14, 33, 27)])
def test_surfaces_are_those_of_whole_masks(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]) -> None:
    monkeypatch.setattr(counting.windows, "__kwdefaults__", {"pixels": 600})
    truth, guess = pair(shape)
    spacing = (2.5, 0.7, 1.1)[-len(shape) :]
    chunk = (3, 8, 9)[-len(shape) :]
    found = item_surfaces(
        Held(truth, chunk), Held(guess, chunk), codes=(1, 2, 7), ignore=(255,), spacing=spacing,
        tolerance=1.5, threads=2,
    )  # fmt: skip
    known = truth != 255
    for code in (1, 2):
        whole = mask_scores((truth == code) & known, (guess == code) & known, spacing, tolerance=1.5)
        assert found[code].status == "ok"
        assert (found[code].hd95, found[code].assd, found[code].surface_dice) == pytest.approx(
            (whole.hd95, whole.assd, whole.surface_dice), abs=1e-12
        )
    assert found[7].status == "absent from both"


def test_too_large_a_surface_is_said_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surfaces, "MOST_VOXELS", 100)
    truth = np.zeros((80, 80), np.uint8)
    truth[::2] = 1
    truth[10:20, 10:20] = 2
    held = Held(truth, (16, 80))
    found = item_surfaces(held, held, codes=(1, 2), ignore=(), spacing=(1, 1), tolerance=1, threads=1)
    assert found[1].status == "not computed: more than 100 surface pixels"
    assert math.isnan(found[1].hd95)
    assert (found[2].status, found[2].hd95) == ("ok", 0)


def test_all_classes_together_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surfaces, "MOST_TOGETHER", 300)
    truth = np.zeros((40, 40), np.uint8)
    truth[::2] = 1
    truth[10:20, 10:20] = 2
    held = Held(truth, (40, 40))
    found = item_surfaces(held, held, codes=(1, 2), ignore=(), spacing=(1, 1), tolerance=1, threads=1)
    assert found[1].status.startswith("not computed")
    assert found[2].status == "ok"
