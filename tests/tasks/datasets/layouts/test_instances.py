"""Masks of instances, whose rim is a class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from skimage.segmentation import find_boundaries

from tasks.datasets.open import open_dataset
from tests.tasks.datasets.conftest import save, write_json
from tests.tasks.datasets.layouts.conftest import assert_windows_agree, whole

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def test_border_of_instances_is_their_inner_rim(tmp_path: Path, rng: np.random.Generator) -> None:
    ids = np.zeros((24, 30), np.uint16)
    ids[2:12, 3:14], ids[5:20, 14:25], ids[20:, :6] = 1, 900, 3
    save(tmp_path / "image/a.png", rng.integers(0, 256, (24, 30)).astype(np.uint8))
    save(tmp_path / "instance/a.png", ids)
    write_json(tmp_path / "index.json", [{"id": "a", "split": "test", "kind": "fluo"}])
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.items[0].split) == ("instances", "test")
    assert dataset.items[0].details["kind"] == "fluo"
    _, truth = whole(dataset, "a", tmp_path)
    rim = find_boundaries(ids, connectivity=2, mode="inner")
    np.testing.assert_array_equal(truth, np.where(ids == 0, 0, np.where(rim, 2, 1)))
    assert_windows_agree(dataset, "a", tmp_path)


def test_nuclei(shared_data: Path, tmp_path: Path) -> None:
    dataset = open_dataset(shared_data / "nuclei")
    assert {s: len(dataset.split(s)) for s in ("train", "val", "test")} == {
        "train": 250,
        "val": 0,
        "test": 50,
    }
    assert len(dataset.channels) == 3
    fluo = next(i for i in dataset.items if i.details["kind"] == "fluo")
    image, truth = whole(dataset, fluo.id, tmp_path)
    with rasterio.open(fluo.truth) as f:
        np.testing.assert_array_equal(truth > 0, f.read(1) > 0)
    np.testing.assert_array_equal(image[..., 0], image[..., 2])
