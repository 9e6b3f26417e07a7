"""Items named one by one: files, runs of values, boxes per split, and their mistakes."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tasks.datasets.dataset import IGNORE
from tasks.datasets.entries import box_text, parse_box
from tasks.datasets.manifest import DatasetFile, parse_file
from tasks.datasets.open import open_dataset
from tasks.datasets.pair import open_pair
from tasks.errors import InputError
from tasks.training.config import Data
from tasks.training.items import split_items

SHAPE = (6, 10, 8)
ITEM = {"image": "scan.nii.gz", "mask": "scan_seg.nii.gz"}
CLASSES = [{"name": "rest", "values": [0, "7-9"]}, {"name": "bones", "values": ["2-4", 6]}]


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """One scan and its mask side by side, with values 0 to 9, and a file that nobody names."""
    values = np.random.default_rng(0).integers(0, 10, SHAPE).astype(np.int16)
    values[values == 1] = 5
    for name, content in (("scan", values * 10), ("scan_seg", values), ("other", values)):
        # a file's axes are x, y, z
        nib.save(
            nib.Nifti1Image(content.transpose(2, 1, 0), np.diag([3, 3, 3, 1])), tmp_path / f"{name}.nii.gz"
        )
    return tmp_path


def test_boxes_are_read_and_written() -> None:
    assert parse_box(":,42:101,3:") == (slice(None, None), slice(42, 101), slice(3, None))
    for text in (":,42:101,3:", "0:5,:7"):
        assert box_text(parse_box(text)) == text
    for wrong in ("5", "1:2,3", "1:2,b:3", "4:4,:", "1:2:3,:", ":,:,:,:", None):
        with pytest.raises(ValueError, match=r"no box|ends before"):
            parse_box(wrong)


def test_runs_of_values_are_merged_into_classes(volume: Path) -> None:
    file = DatasetFile.model_validate({"items": [ITEM], "classes": CLASSES, "ignore": [5]})
    dataset = open_dataset(volume, manifest=file)
    assert [item.id for item in dataset.items] == ["scan"]
    pair = open_pair(dataset, dataset.items[0], scratch=volume)
    whole = tuple(slice(0, n) for n in SHAPE)
    raw, truth = pair.image(whole)[..., 0] / 10, pair.truth(whole)
    pair.close()
    for value, code in {0: 0, 2: 1, 3: 1, 4: 1, 5: IGNORE, 6: 1, 7: 0, 8: 0, 9: 0}.items():
        assert (truth[raw == value] == code).all()
    assert (truth == 1).sum() == np.isin(raw, [2, 3, 4, 6]).sum() > 0


def test_the_folders_own_file_says_the_same(volume: Path) -> None:
    (volume / "dataset.yaml").write_text(
        "items: [{image: scan.nii.gz, mask: scan_seg.nii.gz, parts: {train: [':,:4,:'], valid: [':,6:,:']}}]\n"
        "classes: [{name: rest, values: [0, 7-9]}, {name: bones, values: [2-4, 6]}]\nignore: [5]\n"
    )
    dataset = open_dataset(volume)
    split = split_items(dataset, Data(), seed=0, scratch=volume)
    assert [p.text for p in split.train] == ["scan[0:6,0:4,0:8]"]
    assert [p.text for p in split.val] == ["scan[0:6,6:10,0:8]"]
    assert split.test == ()


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"train": [":,:4,:"], "val": [":,3:,:"]}, "shares pixels with a val part"),
        ({"train": [":,:4,:"], "val": [":,6:11,:"]}, "scan has 6 x 10 x 8 pixels, so its val part :,6:11,:"),
        ({"train": [":4,:"], "val": [":,6:,:"]}, "its train part :4,: does not fit"),
        ({"train": [":,:4,:"], "test": [":,6:,:"]}, "none to validate with"),
    ],
)
def test_parts_that_cannot_be_are_refused(volume: Path, parts: dict[str, list[str]], said: str) -> None:
    file = DatasetFile.model_validate({"items": [{**ITEM, "parts": parts}], "classes": CLASSES})
    with pytest.raises(InputError, match=said):
        split_items(open_dataset(volume, manifest=file), Data(), seed=0, scratch=volume)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({**ITEM, "spilt": "train"}, "did you mean 'split'"),
        ({**ITEM, "split": "trian"}, "no split 'trian'"),
        ({**ITEM, "split": "train", "parts": {"val": [":,:"]}}, "either a split or parts"),
        ({**ITEM, "parts": {"val": [":,4"]}}, "is no box"),
        ({"mask": "scan_seg.nii.gz"}, "image"),
    ],
)
def test_mistakes_of_an_entry_are_named(item: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_file({"items": [item]}, Path("dataset.json"))


def test_files_stay_inside_the_folder(volume: Path) -> None:
    file = DatasetFile.model_validate({"items": [{"image": "../scan.nii.gz"}], "classes": CLASSES})
    with pytest.raises(InputError, match="lies outside"):
        open_dataset(volume, manifest=file)
