"""``segflow train --auto``, the training that its file asks for, and a run of the model: scans of two spacings."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from segmodels.bundles.bundle import load_bundle

SPACINGS = ((4.0, 1.0, 1.0), (3.0, 1.25, 1.25))
EXTENT = (48.0, 40.0, 40.0)
OPTIMISER = {"learning_rate": 0.003, "warmup": 5}


def write_scans(root: Path, *, items: int = 8) -> Path:
    """Bright balls of 9 mm radius in scans whose voxels differ."""
    rng = np.random.default_rng(1)
    for i in range(items):
        spacing = SPACINGS[i % 2]
        axes = [(np.arange(round(e / s)) + 0.5) * s for e, s in zip(EXTENT, spacing, strict=True)]
        at = np.stack(np.meshgrid(*axes, indexing="ij"))
        centre = rng.uniform([14, 12, 12], [34, 28, 28])
        ball = np.linalg.norm(at - centre[:, None, None, None], axis=0) < 9
        image = (rng.normal(100, 15, ball.shape) + 80 * ball).astype(np.float32)
        affine = np.diag([*reversed(spacing), 1.0])
        for folder, values, end in (("imagesTr", image, "_0000"), ("labelsTr", ball.astype(np.uint8), "")):
            (root / folder).mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(values.transpose(2, 1, 0), affine), root / folder / f"s{i}{end}.nii.gz")
    (root / "dataset.json").write_text(
        json.dumps(
            {"channel_names": {"0": "MR"}, "labels": {"background": 0, "ball": 1}, "file_ending": ".nii.gz"}
        )
    )
    return root


@pytest.mark.slow
def test_a_plan_is_trained_and_its_model_runs(segflow, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    data = write_scans(tmp_path / "balls")
    file = tmp_path / "balls.yaml"
    planned = segflow("train", "--auto", data, "--memory", "1.2GB", "--out", file, "--json")
    assert planned.code == 0, planned.error
    config = yaml.safe_load(file.read_text())
    # four of the six training scans have slices of 4 mm, so that the medians are theirs; the thick axis takes the finest
    assert config["spacing"] == [3.0, 1.0, 1.0]
    # what a person would edit: fewer steps than a real training takes
    file.write_text(
        yaml.safe_dump({**config, "steps": 60, "every": 30, "average": 0.9, "optimiser": OPTIMISER})
    )
    out = tmp_path / "out"
    ran = segflow("train", file, "--out", out, "--direct", "--json")
    assert ran.code == 0, ran.error
    assert ran.answer["scores"]["mean_dice_validation"] > 0.7
    card = load_bundle(ran.answer["bundle"]).card
    assert card.spacing == tuple(config["spacing"])
    assert card.training.details["scored"].startswith("on each item's own grid")

    for name, spacing, how, code in (
        ("same", (3.0, 1.0, 1.0), "card", 0),
        ("other", (5.0, 1.0, 1.0), "card", 0),
        ("as it is", (5.0, 1.0, 1.0), "native", 5),
    ):
        image = tmp_path / f"{name}.nii.gz"
        values = np.random.default_rng(0).normal(100, 15, (32, 32, 16)).astype(np.float32)
        nib.save(nib.Nifti1Image(values, np.diag([*reversed(spacing), 1.0])), image)
        result = segflow.run(image, ran.answer["bundle"], tmp_path / "results", "--spacing", how)
        assert result.code == code, result.error
        sampled = any(note.startswith("sampled at") for note in result.answer["warnings"])
        assert sampled == (name == "other")
