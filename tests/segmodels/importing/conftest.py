"""Two networks made by torch, the logits that torch gave, and an image that needs no file."""

from pathlib import Path

import numpy as np
import pytest

from segmodels.importing.like import Like

DATA = Path(__file__).parent / "data"


class Bytes:
    """Statistics of a channel of bytes."""

    minimum, maximum = 0.0, 255.0

    def mean_std(self, *, above=None):
        return 127.5, 74.0

    def percentile(self, q, *, above=None):
        return 2.55 * q


@pytest.fixture
def like():
    def make(channels=3, shape=(90, 120)):
        values = np.random.default_rng(5).integers(0, 256, (*shape, channels), dtype=np.uint8)

        def middle(wanted):
            window = tuple(slice(0, min(n, w)) for n, w in zip(shape, wanted, strict=True))
            return values[window], np.ones(values[window].shape[:-1], bool)

        names = tuple("rgbnuv"[:channels])
        return Like("a.tif", "earth", len(shape), names, "uint8", None, [Bytes()] * channels, middle)

    return make


@pytest.fixture(scope="session")
def torch_logits():
    with np.load(DATA / "logits.npz") as arrays:
        return arrays["input"], arrays["logits"]
