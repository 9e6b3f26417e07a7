"""A plan becomes a configuration that reads back, with its reasons beside the keys."""

from __future__ import annotations

from pathlib import Path

from segmodels.bundles.card import NormalisePercentile
from tasks.datasets.open import open_dataset
from tasks.datasets.plan import TrainingPlan
from tasks.training.auto import config_text
from tasks.training.config import read_config


def test_a_plan_reads_back_as_a_configuration(squares: Path, tmp_path: Path) -> None:
    plan = TrainingPlan(
        architecture="unet",
        options={"filters": (8, 16)},
        ndim=2,
        patch=(32, 48),
        spacing=None,
        batch=3,
        normalise=(NormalisePercentile(low=1, high=99),),
        class_weights=(0.5, 1.0, 1.5),
        loss="dice_cross_entropy",
        learning_rate=1e-3,
        steps=700,
        memory_bytes=10**9,
        reasons={"patch": "Because the images are small.", "class_weights": "Borders are rare."},
    )
    text = config_text(plan, open_dataset(squares))
    path = tmp_path / "config.yaml"
    path.write_text(text)
    config = read_config(path)
    assert config.patch == (32, 48)
    assert config.model.options == {"filters": [8, 16]}
    assert config.loss[0].options == {"class_weights": [0.5, 1.0, 1.5]}
    assert config.normalise == plan.normalise
    assert (config.steps, config.batch, config.every) == (700, 3, 70)
    assert config.data.path == squares
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("patch:"))
    assert lines[at - 1] == "# Because the images are small."
    assert "# Borders are rare." in lines
