"""What tests of layouts share: an item read whole, and by windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.datasets.dataset import Dataset
from tasks.datasets.pair import open_pair


def whole(dataset: Dataset, id: str, scratch: Path) -> tuple[np.ndarray, np.ndarray]:
    (item,) = (i for i in dataset.items if i.id == id)
    pair = open_pair(dataset, item, scratch=scratch)
    window = tuple(slice(0, n) for n in pair.shape)
    try:
        return pair.image(window), pair.truth(window)
    finally:
        pair.close()


def assert_windows_agree(dataset: Dataset, id: str, scratch: Path) -> None:
    (item,) = (i for i in dataset.items if i.id == id)
    image, truth = whole(dataset, id, scratch)
    pair = open_pair(dataset, item, scratch=scratch)
    for rows, columns in [((0, 7), (3, 11)), ((5, 17), (0, 9)), ((6, 7), (8, 9))]:
        window = (slice(*rows), slice(*columns))
        np.testing.assert_array_equal(pair.image(window), image[window])
        np.testing.assert_array_equal(pair.truth(window), truth[window])
    pair.close()
