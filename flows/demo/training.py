"""How the two shipped models were trained: ``segflow demo train earth-water|brain-tissue``.

Each function is a whole recipe, from the demo package's image to a bundle with scores from
the part of the image that training never saw. Every choice (widths, steps, augmentation)
was made on a validation part inside the training side: ``validate=True`` holds it out and
logs its scores.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flows.demo import brain, earth
from flows.demo.cards import brain_card, earth_card
from segmodels.bundles.card import Card
from segmodels.metrics import ConfusionMatrix
from segmodels.normalise import make_normaliser
from segmodels.training.augment import Step, affine, bias_field, colour, compose, flip
from segmodels.training.sampler import EDGES, TileSampler
from segmodels.training.statistics import Histogram

if TYPE_CHECKING:
    import keras

    from segmodels.bundles.bundle import Bundle
    from segmodels.training.loop import Progress

log = logging.getLogger(__name__)

EARTH_FILTERS = (8, 16, 32, 48, 64, 96)
EARTH_VALIDATION = slice(975, 1275)
"""Columns of 115° W to 95° W."""

BRAIN_FILTERS = (8, 16, 32, 64)
BRAIN_TRAIN = slice(0, 69)
"""Training slab along y: a tile's width, 48 voxels, behind the scored half."""
BRAIN_VALIDATION = slice(69, 117)
"""The gap: neither trained on nor scored, used for choices."""
BRAIN_SCORED = slice(117, 233)
"""The anterior half."""


def train_earth(
    out: Path,
    *,
    seed: int = 0,
    steps: int = 1000,
    validate: bool = False,
    progress: Progress | None = None,
) -> Bundle:
    """Trains ``earth-water`` on the western hemisphere and scores it on the eastern.

    Args:
        out: Folder of the bundle; an existing bundle there is replaced.
        seed: Of weights, tiles and augmentation.
        steps: Batches of 4 tiles of 256 × 256.
        validate: Hold the validation band out of training and log its scores.
        progress: Called with (step, steps, mean loss).

    Returns:
        The bundle as written.

    Raises:
        InputError: The demo packages are not installed.
        BundleError: ``out`` holds something that is no bundle.
    """
    from segmodels.training.loop import Schedule, seed_everything, train

    seed_everything(seed)
    from segmodels.losses import SparseCrossEntropy
    from segmodels.registry import build
    from segmodels.training.scoring import predict_codes

    image, truth, card = earth.earth_rgb(), earth.earth_truth(), earth_card()
    normalise = make_normaliser(card, [Histogram.of(image[..., c]) for c in range(3)])
    rows, west, band = slice(0, earth.SHAPE[0]), slice(0, earth.EAST), EARTH_VALIDATION
    areas = (
        [(rows, slice(0, band.start)), (rows, slice(band.stop, west.stop))] if validate else [(rows, west)]
    )
    options: dict[str, Any] = {"channels": 3, "logits": 3, "ndims": 2, "filters": EARTH_FILTERS}
    model = build("unet", **options)
    minutes = train(
        model,
        TileSampler(image, truth, tile=(256, 256), areas=areas, focus={2: 0.15, EDGES: 0.4}, seed=seed),
        normalise=normalise,
        loss=SparseCrossEntropy(class_weights=(1.0, 1.0, 2.0)),
        schedule=Schedule(steps=steps, batch=4, learning_rate=4e-3),
        augment=compose(flip(1), colour(gain=0.05)),
        seed=seed,
        progress=progress,
        every=min(steps, 50),
    )
    codes = predict_codes(
        model, image, normalise=normalise, tile=(512, 512), halo=(64, 64), wraps=(False, True)
    )
    if validate:
        log.info("validation band: %s", _earth_scores(truth[:, band], codes[:, band], "validation"))
    east = slice(earth.EAST, None)
    scores = _earth_scores(truth[:, east], codes[:, east], "east")
    log.info("eastern hemisphere: %s", scores)
    golden = normalise(image[688:816, 1376:1504])[None]  # lakes Michigan and Huron
    card = earth_card(scores=scores, seed=seed, steps=steps, minutes=minutes)
    return _write(out, card, build("unet", **options), model, golden)


def train_brain(
    out: Path,
    *,
    seed: int = 0,
    steps: int = 350,
    validate: bool = False,
    progress: Progress | None = None,
) -> Bundle:
    """Trains ``brain-tissue`` on the back of the template and scores it on the anterior half.

    Args:
        out: Folder of the bundle; an existing bundle there is replaced.
        seed: Of weights, tiles and augmentation.
        steps: Batches of 2 tiles of 32 × 48 × 32.
        validate: Log the scores of the validation slab, which training never sees anyway.
        progress: Called with (step, steps, mean loss).

    Returns:
        The bundle as written.

    Raises:
        InputError: The demo packages are not installed.
        BundleError: ``out`` holds something that is no bundle.
    """
    from segmodels.training.loop import Schedule, seed_everything, train

    seed_everything(seed)
    from segmodels.losses import DiceCrossEntropy
    from segmodels.registry import build

    t1, truth, card = brain.brain_t1(), brain.brain_truth(), brain_card()
    options: dict[str, Any] = {"channels": 1, "logits": 3, "ndims": 3, "filters": BRAIN_FILTERS}
    area = (slice(0, t1.shape[0]), BRAIN_TRAIN, slice(0, t1.shape[2]))
    model = build("unet", **options)
    minutes = train(
        model,
        TileSampler(t1[..., None], truth, tile=(32, 48, 32), areas=[area], focus={1: 0.4, 2: 0.4}, seed=seed),
        normalise=None,
        loss=DiceCrossEntropy(),
        schedule=Schedule(steps=steps, batch=2, learning_rate=4e-3, warmup=30),
        augment=compose(
            scanner(card, Histogram.of(t1)), flip(2), affine(zoom=0.1, rotate=0.15, probability=0.3)
        ),
        seed=seed,
        progress=progress,
        every=min(steps, 50),
    )
    if validate:
        log.info("validation slab: %s", _brain_scores(model, card, t1, truth, BRAIN_VALIDATION))
    scores = _brain_scores(model, card, t1, truth, BRAIN_SCORED)
    log.info("anterior half: %s", scores)
    normalise = make_normaliser(card, [Histogram.of(t1)])
    golden = normalise(t1[64:112, 120:168, 72:120, None])[None]
    card = brain_card(scores=scores, seed=seed, steps=steps, minutes=minutes)
    return _write(out, card, build("unet", **options), model, golden)


def scanner(card: Card, histogram: Histogram, *, full: float = 255.0) -> Step:
    """Another scanner's view of the same head, normalised as prediction would normalise it.

    A gamma of 0.7…1.4 over the whole image changes its statistics, which the histogram
    gives exactly; a bias field within ±30 % follows; a last small scale and shift stand for
    what the field does to the statistics of a whole image.
    """
    field = bias_field(0.3, waves=0.6)

    def run(
        image: npt.NDArray[Any], labels: npt.NDArray[Any], rng: np.random.Generator
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        g = float(np.exp(rng.uniform(np.log(0.7), np.log(1.4)))) if rng.random() < 0.8 else 1.0
        normalise = make_normaliser(card, [histogram.mapped(full * (histogram.values / full) ** g)])
        changed = (full * (image / np.float32(full)) ** np.float32(g)).astype(np.float32)
        changed, labels = field(changed, labels, rng)
        x = normalise(changed) + np.float32(rng.normal(0, 0.1))
        return x * np.float32(rng.uniform(0.9, 1.1)), labels

    return run


def _earth_scores(truth: npt.NDArray[Any], codes: npt.NDArray[Any], where: str) -> dict[str, float]:
    matrix = ConfusionMatrix(3).update(truth, codes)
    scores = {f"pixel_accuracy_{where}": matrix.pixel_accuracy()}
    for name, iou in zip(earth.CLASSES, matrix.iou(), strict=True):
        scores[f"iou_{name}_{where}"] = float(iou)
    return {name: round(value, 5) for name, value in scores.items()}


def _brain_scores(
    model: keras.Model, card: Card, t1: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], slab: slice
) -> dict[str, float]:
    """Dice and volume ratio of a slab along y, for the template and for changed copies."""
    from segmodels.training.scoring import predict_codes

    halo = 8
    first, last = max(slab.start - halo, 0), min(slab.stop + halo, t1.shape[1])
    scores: dict[str, float] = {}
    for name, image in brain.changed_copies(t1).items():
        codes = predict_codes(
            model,
            image[:, first:last, :, None],
            normalise=make_normaliser(card, [Histogram.of(image)]),
            tile=(64, 64, 64),
            halo=(halo,) * 3,
        )
        inside = codes[:, slab.start - first : slab.stop - first]
        matrix = ConfusionMatrix(3).update(truth[:, slab], inside)
        for code, tissue in ((1, "grey"), (2, "white")):
            scores[f"dice_{tissue}_{name}"] = round(float(matrix.dice()[code]), 5)
            scores[f"volume_ratio_{tissue}_{name}"] = round(float(matrix.size_ratio()[code]), 5)
    return scores


def _write(
    out: Path, card: Card, fresh: keras.Model, trained: keras.Model, golden: npt.NDArray[np.float32]
) -> Bundle:
    """Writes the bundle from an uncompiled copy: a bundle holds no optimiser and no loss."""
    from segmodels.bundles.write import write_bundle

    fresh.set_weights(trained.get_weights())
    return write_bundle(
        out, card=card, model=fresh, golden_input=np.ascontiguousarray(golden, np.float32), overwrite=True
    )
