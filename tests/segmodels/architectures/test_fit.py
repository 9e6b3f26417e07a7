"""Every architecture, narrow, learns four real crops by heart; from shuffled labels it learns nothing real."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.io import imread
from skimage.segmentation import find_boundaries

SIDE, CLASSES = 64, 3
#: Steps until a network must know its crops; it is looked at every few steps and stops when it does.
STEPS, EVERY = 600, 25
SHUFFLED_STEPS = 75
#: Wide enough to know four crops by heart, and no wider.
FIT: dict[str, dict[str, Any]] = {
    "context_unet": {"ndim": 2, "filters": (12, 16, 24), "norm": "batch"},
    "deeplab_v3": {"backbone": "plain", "width": 1 / 4, "output_stride": 8},
    "deeplab_v3_plus": {"backbone": "plain", "width": 1 / 4},
    "fcn16": {"backbone": "plain", "width": 1 / 4},
    "fcn32": {"backbone": "plain", "width": 1 / 4},
    "fcn8": {"backbone": "plain", "width": 1 / 4},
    "pspnet": {"backbone": "plain", "width": 1 / 4},
    "residual_unet": {"filters": (12, 16, 24, 32), "blocks": (1, 1, 1, 1)},
    "segnet": {"filters": (16, 24, 32), "convolutions": (2, 2, 2)},
    "unet": {"filters": (12, 16, 24, 32)},
}


@pytest.fixture(scope="module")
def crops(shared_data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Eight crops with their labels: background 0, nucleus 1, border 2. Four to learn, four held out."""
    folder = shared_data / "nuclei"
    items = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    chosen = [i["id"] for i in items if i["split"] == "train" and i["kind"] == "fluo" and i["nuclei"] > 20][
        :8
    ]
    images, labels = [], []
    for name in chosen:
        image = imread(folder / "image" / f"{name}.png")[..., :3].astype(np.float32)
        instances = imread(folder / "instance" / f"{name}.png")
        classes = (instances > 0).astype(np.int32)
        classes[find_boundaries(instances, mode="inner")] = 2
        image = (image - image.mean()) / image.std()
        # The window with the most nuclei, of a coarse grid of windows.
        tops = [
            (r, c) for r in range(0, image.shape[0] - SIDE, 32) for c in range(0, image.shape[1] - SIDE, 32)
        ]
        r, c = max(tops, key=lambda at: int((classes[at[0] : at[0] + SIDE, at[1] : at[1] + SIDE] > 0).sum()))
        images.append(image[r : r + SIDE, c : c + SIDE])
        labels.append(classes[r : r + SIDE, c : c + SIDE])
    return np.stack(images), np.stack(labels)


def mean_iou(model: Any, x: np.ndarray, y: np.ndarray) -> float:
    codes = np.asarray(model(x, training=False)).argmax(-1)
    counts = np.zeros((CLASSES, CLASSES))
    np.add.at(counts, (y.ravel(), codes.ravel()), 1)
    hit = np.diag(counts)
    return float(np.mean(hit / (counts.sum(0) + counts.sum(1) - hit)))


def learn(model: Any, x: np.ndarray, y: np.ndarray, steps: int, *, until: float = 2.0) -> float:
    score = 0.0
    for step in range(1, steps + 1):
        model.train_on_batch(x, y)
        if step % EVERY == 0 or step == steps:
            score = mean_iou(model, x, y)
            if os.environ.get("SHOW"):
                print(model.name, step, round(score, 3), flush=True)
            if score >= until:
                break
    return score


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FIT))
def test_four_crops_are_learnt_by_heart_and_shuffled_labels_teach_nothing(crops, name):
    import keras

    from segmodels.losses import DiceCrossEntropy
    from segmodels.registry import build

    keras.utils.set_random_seed(5)
    images, labels = crops
    model = build(name, channels=3, classes=CLASSES, **FIT[name])
    optimizer = keras.optimizers.Adam(3e-3)
    model.compile(optimizer, DiceCrossEntropy(), jit_compile=False)
    optimizer.build(model.trainable_variables)
    variables = [*model.variables, *optimizer.variables]
    fresh = [np.array(v) for v in variables]

    assert learn(model, images[:4], labels[:4], STEPS, until=0.95) >= 0.95
    real = mean_iou(model, images[4:], labels[4:])
    for variable, value in zip(variables, fresh, strict=True):
        variable.assign(value)
    shuffled = np.random.default_rng(0).permuted(labels[:4].reshape(4, -1), axis=1).reshape(4, SIDE, SIDE)
    learn(model, images[:4], shuffled, SHUFFLED_STEPS)
    wrong = mean_iou(model, images[4:], labels[4:])
    if os.environ.get("SHOW"):
        print(name, "held out", round(real, 3), "after shuffled labels", round(wrong, 3), flush=True)
    assert wrong < 0.4
    assert real > wrong + 0.05
