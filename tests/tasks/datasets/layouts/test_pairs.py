"""Folders of images and masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.datasets.dataset import IGNORE
from tasks.datasets.open import open_dataset
from tasks.errors import InputError, UsageError
from tests.tasks.datasets.conftest import save
from tests.tasks.datasets.layouts.conftest import whole

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def test_pairs_without_a_word_take_classes_from_the_masks(make_pairs: Callable[..., Path]) -> None:
    root = make_pairs(3)
    dataset = open_dataset(root)
    assert dataset.layout == "pairs"
    assert [item.id for item in dataset.items] == ["p0", "p1", "p2"]
    assert [c.code for c in dataset.classes] == [0, 1, 2]
    assert [c.name for c in dataset.channels] == ["grey"]
    image, truth = whole(dataset, "p1", root / "scratch")
    np.testing.assert_array_equal(image[..., 0], np.asarray(Image.open(root / "images/p1.png")))
    np.testing.assert_array_equal(truth, np.asarray(Image.open(root / "masks/p1.png")))


def test_pairs_with_a_file(make_pairs: Callable[..., Path], tmp_path: Path) -> None:
    root = make_pairs(
        classes=[{"name": "sky", "values": [2]}, {"name": "ground", "code": 7, "values": [0], "colour": "#112233"}],
        ignore=[1],
        channels=["near infrared"],
        splits={"train": ["p0", "p1"], "val": ["p2"], "test": ["p3*"]},
    )  # fmt: skip
    dataset = open_dataset(root)
    assert [(c.name, c.code, c.colour) for c in dataset.classes] == [
        ("sky", 0, "#000000"),
        ("ground", 7, "#112233"),
    ]
    assert [i.split for i in dataset.items] == ["train", "train", "val", "test"]
    _, truth = whole(dataset, "p0", tmp_path)
    raw = np.asarray(Image.open(root / "masks/p0.png"))
    np.testing.assert_array_equal(truth, np.choose(raw, [7, IGNORE, 0]))


def test_pairs_in_folders_of_splits(tmp_path: Path, rng: np.random.Generator) -> None:
    for split in ("train", "val", "test"):
        for suffix in (".png", ".jpg"):
            colour = rng.integers(0, 256, (9, 8, 3)).astype(np.uint8)
            save(tmp_path / split / "images" / "deep" / f"a{suffix[1]}{suffix}", colour)
            save(tmp_path / split / "masks" / "deep" / f"a{suffix[1]}_mask.png", np.eye(9, 8, dtype=np.uint8))
    dataset = open_dataset(tmp_path)
    assert [(i.id, i.split) for i in dataset.items] == [
        (f"{s}/deep/{name}", s) for s in ("test", "train", "val") for name in ("aj", "ap")
    ]
    assert all(i.truth is not None for i in dataset.items)
    assert [c.name for c in dataset.channels] == ["red", "green", "blue"]
    assert dataset.details["truth_without_image"] == []


def test_yaml_names_classes_too(make_pairs: Callable[..., Path]) -> None:
    root = make_pairs(1)
    (root / "dataset.yaml").write_text(
        "classes: {void: 0, cell: 1, wall: 2}\nlicence: CC0\n", encoding="utf-8"
    )
    dataset = open_dataset(root)
    assert [(c.name, c.code) for c in dataset.classes] == [("void", 0), ("cell", 1), ("wall", 2)]
    assert dataset.details["licence"] == "CC0"


def test_words_for_what_is_no_data_set(tmp_path: Path, make_pairs: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="is no folder"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no images in a folder"):
        open_dataset(tmp_path)
    with pytest.raises(UsageError, match="there is no layout 'vocc'"):
        open_dataset(tmp_path, layout="vocc")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"unknown key 'clases'; did you mean 'classes'\?"):
        open_dataset(make_pairs(1, clases=["a"]))
    (tmp_path / "pairs/dataset.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"dataset\.json is damaged"):
        open_dataset(tmp_path / "pairs")
