"""Items that the pipeline cannot read themselves are written by windows, the same bytes each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.evaluation.inputs import write_input
from tasks.imagery.open import open_image
from tasks.imagery.wanted import Wanted


class HeldPair:
    """An open item in memory."""

    def __init__(self, values: np.ndarray, missing: np.ndarray, spacing: tuple[float, ...] | None) -> None:
        self.values, self.missing, self.spacing, self.shape = values, missing, spacing, values.shape[:-1]

    def image(self, window: tuple[slice, ...]) -> np.ndarray:
        return self.values[window]

    def valid(self, window: tuple[slice, ...]) -> np.ndarray:
        return ~self.missing[window]

    def truth(self, window: tuple[slice, ...]) -> np.ndarray:
        raise NotImplementedError

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("shape", "channels", "spacing"),
    [
        ((300, 270), 3, None),
        ((40, 30), 4, (1.0, 1.0)),
        ((7, 9, 11), 1, (3.0, 0.5, 0.8)),
        ((7, 9, 11), 2, (3.0, 0.5, 0.8)),
    ],
)
def test_what_was_written_reads_back(
    tmp_path: Path, shape: tuple[int, ...], channels: int, spacing: tuple[float, ...] | None
) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(*shape, channels)).astype(np.float32)
    missing = rng.random(shape) < 0.1
    pair = HeldPair(values, missing, spacing)
    names = [f"channel {c}" for c in range(channels)]
    path = write_input(pair, folder=tmp_path / "in", name="a", names=names)
    image = open_image(path, scratch=tmp_path, wanted=Wanted(count=channels))
    pixels = image.read(tuple(slice(0, n) for n in shape))
    np.testing.assert_array_equal(pixels.valid, ~missing)
    np.testing.assert_array_equal(pixels.values[~missing], values[~missing])
    if len(shape) == 3:
        assert image.info.grid["spacing"] == pytest.approx(spacing)
    image.close()
    before = path.read_bytes(), path.stat().st_mtime_ns
    write_input(pair, folder=tmp_path / "in", name="a", names=names)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]
