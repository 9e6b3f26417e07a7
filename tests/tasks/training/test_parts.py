"""Training on one part of a volume and scoring another: no score reads a voxel that was trained on."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from segmodels.normalise import Normaliser
from tasks.datasets.manifest import DatasetFile
from tasks.datasets.open import open_dataset
from tasks.datasets.splits import overlap
from tasks.training.config import Data
from tasks.training.evaluate import Evaluator, clear_of, windows
from tasks.training.items import split_items

SHAPE = (150, 140, 20)


def test_context_ends_where_training_began() -> None:
    trained = [(slice(0, 150), slice(60, 140), slice(0, 20)), (slice(100, 150), slice(0, 50), slice(0, 20))]
    box = (slice(0, 90), slice(0, 52), slice(0, 20))
    seen = np.zeros(SHAPE, bool)
    for core, padded in windows(SHAPE, ndim=3, box=box):
        cut = clear_of(padded, core, trained)
        assert not any(overlap(cut, t) for t in trained)
        assert all(a.start <= b.start and b.stop <= a.stop for a, b in zip(cut, core, strict=True))
        seen[cut] = True
    # all that is free within the halo of 16 is read
    assert seen[:100, :60].all()
    assert not seen[:, 60:].any()


def test_a_trained_part_itself_keeps_its_context() -> None:
    box = (slice(0, 150), slice(60, 140), slice(0, 20))
    for core, padded in windows(SHAPE, ndim=3, box=box):
        assert clear_of(padded, core, [box]) == padded


@pytest.mark.parametrize("avoided", [True, False])
def test_scores_do_not_move_with_what_was_trained_on(tmp_path: Path, avoided: bool) -> None:
    """A network of one wide mean sees its surroundings; only the cut keeps the trained voxels out."""
    import keras

    rng = np.random.default_rng(0)
    image = rng.normal(0, 1, (12, 24, 12)).astype(np.float32)
    mask = (image > 0).astype(np.uint8)
    inputs = keras.Input((None, None, None, 1))
    mean = keras.layers.AveragePooling3D(9, strides=1, padding="same")(inputs)
    network = keras.Model(inputs, keras.layers.Concatenate()([-mean, mean]))
    found = []
    for shift in (0.0, 5.0):
        folder = tmp_path / str(shift)
        folder.mkdir()
        changed = image.copy()
        changed[:, 12:] += shift
        for name, values in (("scan", changed), ("seg", mask)):
            nib.save(nib.Nifti1Image(values.transpose(2, 1, 0), np.eye(4)), folder / f"{name}.nii")
        manifest = DatasetFile.model_validate(
            {
                "items": [
                    {
                        "image": "scan.nii",
                        "mask": "seg.nii",
                        "parts": {"train": [":,12:,:"], "val": [":,:10,:"]},
                    }
                ],
                "classes": [{"name": "low"}, {"name": "high"}],
            }
        )
        dataset = open_dataset(folder, manifest=manifest)
        split = split_items(dataset, Data(), seed=0, scratch=folder)
        evaluator = Evaluator(
            dataset,
            normalisers={"scan": Normaliser((-np.inf,), (np.inf,), (0.0,), (1.0,))},
            codes=(0, 1),
            ndim=3,
            strides=(1, 1, 1),
            balance_by=None,
            scratch=folder,
            trained=split.train if avoided else (),
        )
        found.append(evaluator.scores(network, split.val, score="mean_dice"))
    assert (found[0] == found[1]) is avoided
    assert {"dice_low", "dice_high", "iou_low", "iou_high"} <= set(found[0])
