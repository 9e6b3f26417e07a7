"""How ``earth-water`` was trained: ``segflow demo train earth-water``.

The whole recipe, from the demo package's image to a bundle with scores from the hemisphere
that training never saw.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flows.demo import earth
from flows.demo.cards import earth_card
from segmodels.bundles.card import Card
from segmodels.metrics import ConfusionMatrix
from segmodels.normalise import make_normaliser
from segmodels.training.augment import colour, compose, flip
from segmodels.training.loop import Schedule
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


@dataclass(frozen=True)
class Cycle:
    """One cosine of the learning rate; cycles follow each other with the weights kept.

    Attributes:
        schedule: Steps, tiles a batch, learning rate, and when batch norm is frozen.
        tile: Training tile.
        settings: What else differs between the cycles of a recipe.
    """

    schedule: Schedule
    tile: tuple[int, ...]
    settings: Mapping[str, float]


EARTH_CYCLES = (
    Cycle(
        Schedule(1200, 4, 3e-3, 30, frozen=0.2), (192, 192), {"hold_out": 1, "lake_weight": 1.5, "edges": 0.6}
    ),
    Cycle(Schedule(2200, 4, 3e-3, 30, frozen=0.2), (192, 192), {"lake_weight": 2.5, "edges": 0.6}),
    Cycle(
        Schedule(2200, 3, 1.5e-3, 30, frozen=1.0),
        (256, 256),
        {"lake_weight": 1.5, "edges": 0.5, "lake_dice": 0.3},
    ),
)


def train_earth(
    out: Path,
    *,
    seed: int = 0,
    cycles: Sequence[Cycle] = EARTH_CYCLES,
    progress: Progress | None = None,
) -> Bundle:
    """Trains ``earth-water`` on the western hemisphere and scores it on the eastern.

    The first cycle holds out the validation band, on which the recipe was chosen, and logs
    its scores there; the others train on the whole west.

    Args:
        out: Folder of the bundle; an existing bundle there is replaced.
        seed: Of weights, tiles and augmentation.
        cycles: The recipe.
        progress: Called with (step, steps, mean loss) of each cycle.

    Returns:
        The bundle as written.

    Raises:
        InputError: The demo packages are not installed.
        BundleError: ``out`` holds something that is no bundle.
    """
    from segmodels.training.loop import seed_everything, train

    seed_everything(seed)
    from segmodels.losses import DiceCrossEntropy
    from segmodels.registry import build
    from segmodels.training.scoring import predict_codes

    image, truth, card = earth.earth_rgb(), earth.earth_truth(), earth_card()
    normalise = make_normaliser(card, [Histogram.of(image[..., c]) for c in range(3)])
    rows, west, band = slice(0, earth.SHAPE[0]), slice(0, earth.EAST), EARTH_VALIDATION
    options: dict[str, Any] = {"channels": 3, "classes": 3, "ndim": 2, "filters": EARTH_FILTERS}
    model = build("unet", **options)
    halo = 64

    def predict(columns: slice, wrap: bool) -> npt.NDArray[np.uint8]:
        return predict_codes(
            model,
            image[:, columns],
            normalise=normalise,
            tile=(512, 512),
            halo=(halo, halo),
            wraps=(False, wrap),
        )

    minutes = 0.0
    for number, cycle in enumerate(cycles):
        s = cycle.settings
        areas = [(rows, west)]
        if s.get("hold_out"):
            areas = [(rows, slice(0, band.start)), (rows, slice(band.stop, west.stop))]
        sampler = TileSampler(
            image,
            truth,
            tile=cycle.tile,
            areas=areas,
            focus={2: 0.1, EDGES: s["edges"]},
            seed=seed + number,
        )
        minutes += train(
            model,
            sampler,
            normalise=normalise,
            loss=DiceCrossEntropy(
                class_weights=(1.0, 1.0, s["lake_weight"]), skip=(0, 1), dice_weight=s.get("lake_dice", 0.0)
            ),
            schedule=cycle.schedule,
            augment=compose(flip(1), colour(gain=0.05)),
            seed=seed + number,
            progress=progress,
        )
        if s.get("hold_out"):
            seen = predict(slice(band.start - halo, band.stop + halo), wrap=False)[:, halo:-halo]
            log.info("validation band: %s", _earth_scores(truth[:, band], seen, "validation"))
    east = slice(earth.EAST, None)
    scores = _earth_scores(truth[:, east], predict(slice(None), wrap=True)[:, east], "east")
    log.info("eastern hemisphere: %s", scores)
    golden = normalise(image[688:816, 1376:1504])[None]  # lakes Michigan and Huron
    card = earth_card(scores=scores, details=_details(cycles, seed, minutes))
    return _write(out, card, build("unet", **options), model, golden)


def _details(cycles: Sequence[Cycle], seed: int, minutes: float) -> dict[str, Any]:
    return {
        "seed": seed,
        "steps": sum(c.schedule.steps for c in cycles),
        "tiles": sum(c.schedule.steps * c.schedule.batch for c in cycles),
        "minutes": round(minutes, 1),
    }


def _earth_scores(truth: npt.NDArray[Any], codes: npt.NDArray[Any], where: str) -> dict[str, float]:
    matrix = ConfusionMatrix(3).update(truth, codes)
    scores = {f"pixel_accuracy_{where}": matrix.pixel_accuracy()}
    for name, iou in zip(earth.CLASSES, matrix.iou(), strict=True):
        scores[f"iou_{name}_{where}"] = float(iou)
    return {name: round(value, 5) for name, value in scores.items()}


def _write(
    out: Path, card: Card, fresh: keras.Model, trained: keras.Model, golden: npt.NDArray[np.float32]
) -> Bundle:
    """Writes the bundle from an uncompiled copy: a bundle holds no optimiser and no loss."""
    from segmodels.bundles.write import write_bundle

    fresh.set_weights(trained.get_weights())
    return write_bundle(
        out, card=card, model=fresh, golden_input=np.ascontiguousarray(golden, np.float32), overwrite=True
    )
