"""Scores at another spacing: predicted on the lattice, brought back to each item's own grid."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from segmodels.normalise import Normaliser
from tasks.datasets.open import open_dataset
from tasks.datasets.splits import Part
from tasks.training import evaluate

AS_IT_IS = Normaliser((-np.inf,), (np.inf,), (0.0,), (1.0,))
SPACING = (3.0, 1.0, 2.0)
STEEP = 0.7


@pytest.mark.parametrize("have", [(1.0, 1.0, 1.0), (5.0, 1.0, 1.5)])
def test_scores_are_of_the_items_own_pixels(
    have: tuple[float, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    shape = (26, 21, 17)
    image = ndimage.gaussian_filter(rng.normal(size=shape), 2).astype(np.float32) * 30
    truth = (image + rng.normal(size=shape) > 0).astype(np.uint8)
    affine = np.diag([*reversed(have), 1.0])
    for folder, values, name in (("imagesTr", image, "a_0000"), ("labelsTr", truth, "a")):
        (tmp_path / folder).mkdir()
        nib.save(nib.Nifti1Image(values.transpose(2, 1, 0), affine), tmp_path / folder / f"{name}.nii.gz")
    (tmp_path / "dataset.json").write_text(
        json.dumps(
            {"channel_names": {"0": "T1"}, "labels": {"rest": 0, "organ": 1}, "file_ending": ".nii.gz"}
        )
    )
    dataset = open_dataset(tmp_path)
    evaluator = evaluate.Evaluator(
        dataset,
        normalisers={dataset.items[0].id: AS_IT_IS},
        codes=(0, 1),
        ndim=3,
        strides=(1, 2, 4),
        spacing=SPACING,
        balance_by=None,
        scratch=tmp_path / "scratch",
    )

    def logits(x: np.ndarray) -> np.ndarray:
        return np.concatenate([np.zeros_like(x), STEEP * x], axis=-1)

    # many windows, so that their seams take part
    monkeypatch.setattr(evaluate, "_CHUNK", {3: 7})
    monkeypatch.setattr(evaluate, "compiled", lambda network: logits)
    box = (slice(2, 26), slice(0, 21), slice(0, 17))
    scores = evaluator.scores(object(), [Part(dataset.items[0], box)], score="mean_iou")  # type: ignore[arg-type]

    steps = np.array(SPACING) / have
    lattice = [(np.arange(np.ceil(n / s - 0.5)) + 0.5) * s - 0.5 for n, s in zip(shape, steps, strict=True)]
    seen = sampled(image, lattice)
    back = [(np.arange(n) + 0.5) / s - 0.5 for n, s in zip(shape, steps, strict=True)]
    predicted = sampled(1 / (1 + np.exp(-STEEP * seen)), back)[box] > 0.5
    known = truth[box] == 1
    ious = [(p & k).sum() / (p | k).sum() for p, k in ((~predicted, ~known), (predicted, known))]
    assert scores["pixel_accuracy"] == pytest.approx((predicted == known).mean(), abs=2e-4)
    assert [scores["iou_rest"], scores["iou_organ"]] == pytest.approx(ious, abs=4e-4)
    assert scores["score"] == pytest.approx(np.mean(ious), abs=4e-4)


def sampled(values: np.ndarray, at: list[np.ndarray]) -> np.ndarray:
    grid = np.stack(np.meshgrid(*at, indexing="ij"))
    return ndimage.map_coordinates(values.astype(float), grid, order=1, mode="nearest")
