"""How ``brain-tissue`` was trained: ``segflow demo train brain-tissue``.

The whole recipe, from the template to a bundle with scores from the half of the head that
training never saw. Training tiles come from copies of the whole head as other scanners
might show it, each normalised by its own statistics, as prediction will do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flows.demo import brain
from flows.demo.cards import brain_card
from segmodels.bundles.card import Card
from segmodels.metrics import ConfusionMatrix
from segmodels.normalise import make_normaliser
from segmodels.training.statistics import Histogram

if TYPE_CHECKING:
    import keras

    from segmodels.bundles.bundle import Bundle
    from segmodels.training.loop import Progress

log = logging.getLogger(__name__)

FILTERS = (16, 32, 64)
TILE = (48, 32, 48)
"""Of training, ``(z, y, x)``."""
TRAINED = slice(0, 85)
"""Along y, 0 is the back: a training tile's width, 32 voxels, behind the scored half."""
VALIDATED = slice(85, 117)
"""The gap: neither trained on nor scored, used for choices."""
SCORED = slice(117, 233)
"""The anterior half."""


@dataclass(frozen=True)
class Recipe:
    """Settings of one training.

    Attributes:
        steps: Batches of two tiles in bfloat16, which processors with AMX do twice as fast.
        polish: Batches after those in float32, as prediction runs.
        learning_rate: Peak of the cosine; of the polish, a twentieth of it.
        copies: Heads in memory at once: the template itself and changed ones.
        renew: Tiles until one changed head is replaced by another.
        bent: Probability of a gamma in a changed head.
        shaded: Probability of a bias field in it.
        gamma: Range of the exponent.
        bias: Largest relative change of the field.
    """

    steps: int = 3600
    polish: int = 300
    learning_rate: float = 2.5e-3
    copies: int = 8
    renew: int = 20
    bent: float = 0.5
    shaded: float = 0.5
    gamma: tuple[float, float] = (0.7, 1.4)
    bias: float = 0.3


class Heads:
    """Draws tiles (the sampler of the training loop) from changing copies of the head.

    Args:
        t1: The template, ``(z, y, x)``.
        truth: Its classes.
        card: Names the normalisation.
        recipe: How heads are changed.
        seed: Of every draw.
        tile: Size of a tile.
    """

    def __init__(
        self,
        t1: npt.NDArray[np.uint8],
        truth: npt.NDArray[np.uint8],
        *,
        card: Card,
        recipe: Recipe,
        seed: int,
        tile: tuple[int, int, int] = TILE,
    ) -> None:
        self._t1, self._truth, self._card, self._recipe, self._tile = (
            t1,
            truth[:, TRAINED],
            card,
            recipe,
            tile,
        )
        self._rng = np.random.default_rng(seed)
        self._heads = [self._seen(1.0, None)]
        self._heads += [self._changed() for _ in range(recipe.copies - 1)]
        self._centres = np.argwhere(self._truth[::4, ::4, ::4] > 0) * 4
        self._drawn = 0

    def draw(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
        """A normalised tile ``(*tile, 1)`` that holds tissue, and its labels ``(*tile)``."""
        self._drawn += 1
        if self._drawn % self._recipe.renew == 0:
            self._heads[self._rng.integers(1, len(self._heads))] = self._changed()
        head = self._heads[self._rng.integers(len(self._heads))]
        centre = self._centres[self._rng.integers(len(self._centres))]
        low = [
            int(np.clip(c - self._rng.integers(t), 0, n - t))
            for c, t, n in zip(centre, self._tile, head.shape, strict=True)
        ]
        box = tuple(slice(a, a + t) for a, t in zip(low, self._tile, strict=True))
        image, labels = head[box][..., None], self._truth[box]
        return self._turned(image, labels)

    def _turned(
        self, image: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
        """Mirrors along any axis, and z and x exchanged: folds run every way, and voxels are cubes."""
        flips = tuple(slice(None, None, -1 if self._rng.random() < 0.5 else 1) for _ in range(3))
        image, labels = image[flips], labels[flips]
        if self._tile[0] == self._tile[2] and self._rng.random() < 0.5:
            image, labels = image.transpose(2, 1, 0, 3), labels.transpose(2, 1, 0)
        return image, labels

    def _changed(self) -> npt.NDArray[np.float32]:
        recipe, rng = self._recipe, self._rng
        exponent, field = 1.0, None
        if rng.random() < recipe.bent:
            exponent = float(np.exp(rng.uniform(*np.log(recipe.gamma))))
        if rng.random() < recipe.shaded:
            field = random_field(float(rng.uniform(0, recipe.bias)), rng)
        return self._seen(exponent, field)

    def _seen(self, exponent: float, field: Field | None) -> npt.NDArray[np.float32]:
        """The trained slab as a scanner shows it, normalised by the statistics of the whole head."""
        everywhere = tuple(np.linspace(-1, 1, n, dtype=np.float32) for n in self._t1.shape)

        def shown(every: int, part: slice) -> npt.NDArray[np.float32]:
            axes = [c[::every] for c in everywhere]
            axes[1] = everywhere[1][part][::every]
            x = 255 * (self._t1[::every, part][:, ::every, ::every] / np.float32(255)) ** np.float32(exponent)
            return np.asarray(x * field(axes) if field else x, np.float32)

        # Every second voxel along each axis gives mean and deviation to a thousandth.
        statistics = Histogram.of(np.round(shown(2, slice(None)), 1))
        return make_normaliser(self._card, [statistics])(shown(1, TRAINED)[..., None])[..., 0]


Field = Callable[[Sequence[npt.NDArray[np.float32]]], npt.NDArray[np.float32]]


def random_field(strength: float, rng: np.random.Generator) -> Field:
    """A smooth field within ``1 ± strength``: three plane waves of at most 0.7 periods over the volume.

    Returns:
        A function of the three coordinates, -1…1 over the whole volume each.
    """
    waves = []
    for _ in range(3):
        direction = rng.normal(size=3)
        direction *= rng.uniform(0, 2.2) / np.linalg.norm(direction)
        waves.append((direction.astype(np.float32), np.float32(rng.uniform(0, 2 * np.pi))))

    def total(axes: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        grid = np.meshgrid(*axes, indexing="ij", sparse=True)
        out = np.zeros([len(a) for a in axes], np.float32)
        for direction, phase in waves:
            out += np.sin(direction[0] * grid[0] + direction[1] * grid[1] + direction[2] * grid[2] + phase)
        return out

    coarse = total([np.linspace(-1, 1, 24, dtype=np.float32)] * 3)
    middle = float(coarse.mean())
    scale = np.float32(strength / max(float(np.abs(coarse - middle).max()), 1e-6))
    return lambda axes: np.asarray(1 + scale * (total(axes) - np.float32(middle)), np.float32)


def train_brain(
    out: Path, *, seed: int = 0, recipe: Recipe | None = None, progress: Progress | None = None
) -> Bundle:
    """Trains ``brain-tissue`` on the back of the head and scores it on the front.

    Args:
        out: Folder of the bundle; an existing bundle there is replaced.
        seed: Of weights, tiles and changes.
        recipe: Other settings than those of the shipped bundle.
        progress: Called every 50 steps.

    Raises:
        InputError: The package with the template is not installed.
    """
    from segmodels.training.loop import Schedule, seed_everything, train
    from segmodels.training.precision import dtype_policy

    seed_everything(seed)  # before anything imports Keras
    from segmodels.bundles.write import write_bundle
    from segmodels.losses import DiceCrossEntropy
    from segmodels.registry import build

    recipe = recipe or Recipe()
    t1, truth, card = brain.brain_t1(), brain.brain_truth(), brain_card()
    heads = Heads(t1, truth, card=card, recipe=recipe, seed=seed)
    options: dict[str, Any] = {"channels": 1, "classes": 3, "ndim": 3, "filters": FILTERS}
    weights: list[npt.NDArray[np.float32]] = []
    minutes = 0.0
    for policy, schedule in (
        ("mixed_bfloat16", Schedule(recipe.steps, 2, recipe.learning_rate, 30, weight_decay=1e-5)),
        ("float32", Schedule(recipe.polish, 2, recipe.learning_rate / 20, 10, weight_decay=1e-5)),
    ):
        with dtype_policy(policy):
            model = build("context_unet", **options)
        if weights:
            model.set_weights(weights)
        loss = DiceCrossEntropy(dice_weight=0.5)
        minutes += train(
            model, heads, normalise=None, loss=loss, schedule=schedule, seed=seed, progress=progress
        )
        weights = model.get_weights()
    log.info("gap: %s", brain_scores(model, card, t1, truth, VALIDATED))
    scores = brain_scores(model, card, t1, truth, SCORED)
    details = {"seed": seed, "minutes": round(minutes, 1), **asdict(recipe)}
    fresh = build("context_unet", **options)
    fresh.set_weights(weights)
    golden = make_normaliser(card, [Histogram.of(t1)])(t1[64:112, 120:168, 72:120, None])[None]
    return write_bundle(
        out,
        card=brain_card(scores=scores, details=details),
        model=fresh,
        golden_input=np.ascontiguousarray(golden, np.float32),
        overwrite=True,
    )


def brain_scores(
    model: keras.Model, card: Card, t1: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], slab: slice
) -> dict[str, float]:
    """Dice and volume ratio of a slab along y, for the template and for changed copies of it."""
    from segmodels.training.scoring import predict_codes

    halo = 16
    first, last = max(slab.start - halo, 0), min(slab.stop + halo, t1.shape[1])
    scores: dict[str, float] = {}
    for name, image in brain.changed_copies(t1).items():
        codes = predict_codes(
            model,
            image[:, first:last, :, None],
            normalise=make_normaliser(card, [Histogram.of(image)]),
            tile=(96, 96, 96),
            halo=(halo,) * 3,
        )
        inside = codes[:, slab.start - first : slab.stop - first]
        matrix = ConfusionMatrix(3).update(truth[:, slab], inside)
        for code, tissue in ((1, "grey"), (2, "white")):
            scores[f"dice_{tissue}_{name}"] = round(float(matrix.dice()[code]), 5)
            scores[f"volume_ratio_{tissue}_{name}"] = round(float(matrix.size_ratio()[code]), 5)
    return scores
