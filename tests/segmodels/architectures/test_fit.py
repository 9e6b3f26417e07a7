"""Every architecture, narrow, learns four real crops by heart; from shuffled labels it learns nothing real.

U-Net, residual U-Net, context U-Net and SegNet give a logit per pixel: they see crops of 64 × 64 pixels as they
are. The others give one per 4 (DeepLab v3+), 8 (FCN-8s, PSPNet, DeepLab v3), 16 or 32 pixels (FCN-16s, FCN-32s),
interpolated: no such grid, however its logits are chosen, draws the borders of one pixel well enough for a mean
IoU of 0.95 (about 0.89 at 4 and less beyond, as the second test finds by choosing them freely; borders of two or
three pixels help, to 0.96 at 4, not to 0.8 at 8). So these see smaller crops, every pixel repeated until it is as
wide as a logit. It is their fitting that is tested, not their sharpness.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.io import imread
from skimage.segmentation import find_boundaries

CLASSES = 3
#: Steps until a network must know its crops; it is looked at every few steps and stops when it does.
STEPS, EVERY = 400, 25
SHUFFLED_STEPS = 75
#: Wide enough to know four crops by heart, and no wider; the side of the crops, and how far they are enlarged.
FIT: dict[str, tuple[dict[str, Any], int, int]] = {
    "context_unet": ({"ndim": 2, "filters": (12, 16, 24), "norm": "batch"}, 64, 1),
    "deeplab_v3": ({"backbone": "plain", "width": 1 / 4, "output_stride": 8}, 16, 8),
    "deeplab_v3_plus": ({"backbone": "plain", "width": 1 / 4}, 16, 4),
    "fcn16": ({"backbone": "plain", "width": 1 / 8}, 12, 16),
    "fcn32": ({"backbone": "plain", "width": 1 / 8}, 8, 32),
    "fcn8": ({"backbone": "plain", "width": 1 / 8}, 16, 8),
    "pspnet": ({"backbone": "plain", "width": 1 / 4}, 16, 8),
    "residual_unet": ({"filters": (12, 16, 24, 32), "blocks": (1, 1, 1, 1)}, 64, 1),
    "segnet": ({"filters": (16, 24, 32), "convolutions": (2, 2, 2)}, 64, 1),
    "unet": ({"filters": (12, 16, 24, 32)}, 64, 1),
}


@pytest.fixture(scope="module")
def scenes(shared_data: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Eight images with their classes: background 0, nucleus 1, border 2."""
    folder = shared_data / "nuclei"
    items = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    chosen = [i["id"] for i in items if i["split"] == "train" and i["kind"] == "fluo" and i["nuclei"] > 20][
        :8
    ]
    found = []
    for name in chosen:
        image = imread(folder / "image" / f"{name}.png").astype(np.float32)
        instances = imread(folder / "instance" / f"{name}.png")
        classes = (instances > 0).astype(np.int32)
        classes[find_boundaries(instances, mode="inner")] = 2
        found.append(((image - image.mean()) / image.std(), classes))
    return found


def crops(scenes: list[tuple[np.ndarray, np.ndarray]], side: int, zoom: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each scene the window whose rarest class is the most frequent, enlarged."""
    images, labels = [], []
    for image, classes in scenes:
        windows = [
            (slice(r, r + side), slice(c, c + side))
            for r in range(0, image.shape[0] - side, 8)
            for c in range(0, image.shape[1] - side, 8)
        ]
        at = max(windows, key=lambda w: int(np.bincount(classes[w].ravel(), minlength=CLASSES).min()))
        images.append(np.kron(image[at], np.ones((zoom, zoom), np.float32))[..., None])
        labels.append(np.kron(classes[at], np.ones((zoom, zoom), np.int32)))
    return np.stack(images), np.stack(labels)


def mean_iou(model: Any, x: np.ndarray, y: np.ndarray) -> float:
    return iou_of(np.asarray(model(x, training=False)), y)


def iou_of(logits: np.ndarray, y: np.ndarray) -> float:
    codes = logits.argmax(-1)
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
def test_four_crops_are_learnt_by_heart_and_shuffled_labels_teach_nothing(scenes, name):
    import keras

    from segmodels.losses import DiceCrossEntropy
    from segmodels.registry import build

    keras.utils.set_random_seed(5)
    options, side, zoom = FIT[name]
    images, labels = crops(scenes, side, zoom)
    model = build(name, channels=1, classes=CLASSES, **options)
    optimizer = keras.optimizers.Adam(3e-3)
    model.compile(optimizer, DiceCrossEntropy(), jit_compile=False)
    optimizer.build(model.trainable_variables)
    variables = [*model.variables, *optimizer.variables]
    fresh = [np.array(v) for v in variables]

    assert learn(model, images[:4], labels[:4], STEPS, until=0.95) >= 0.95
    real = mean_iou(model, images[4:], labels[4:])
    for variable, value in zip(variables, fresh, strict=True):
        variable.assign(value)
    small = labels[:4, ::zoom, ::zoom].reshape(4, -1)
    small = np.random.default_rng(0).permuted(small, axis=1).reshape(4, side, side)
    shuffled = np.kron(small, np.ones((1, zoom, zoom), np.int32))
    learn(model, images[:4], shuffled, SHUFFLED_STEPS)
    wrong = mean_iou(model, images[4:], labels[4:])
    if os.environ.get("SHOW"):
        print(name, "held out", round(real, 3), "after shuffled labels", round(wrong, 3), flush=True)
    assert wrong < 0.4
    assert real > wrong


def best_grid(labels: np.ndarray, stride: int, *, steps: int = 250) -> float:
    """Mean IoU of logits on a grid, chosen freely for these labels and interpolated to their pixels."""
    import keras
    import tensorflow as tf

    from segmodels.losses import DiceCrossEntropy

    side = labels.shape[1]
    grid = tf.Variable(
        tf.random.stateless_normal((len(labels), side // stride, side // stride, CLASSES), (1, 2))
    )
    optimizer, loss = keras.optimizers.Adam(0.3), DiceCrossEntropy()
    optimizer.build([grid])

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            logits = tf.image.resize(grid, (side, side))
            value = loss(labels, logits)
        optimizer.apply([tape.gradient(value, grid)], [grid])
        return logits

    for _ in range(steps):
        logits = step()
    return iou_of(logits.numpy(), labels)


@pytest.mark.slow
@pytest.mark.parametrize("stride", [4, 8])
def test_a_coarse_grid_of_logits_draws_enlarged_borders_only(scenes, stride):
    _, native = crops(scenes[:4], 64, 1)
    assert best_grid(native, stride) < 0.92
    _, enlarged = crops(scenes[:4], 24, stride)
    assert best_grid(enlarged, stride) > 0.96
