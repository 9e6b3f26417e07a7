"""Our surface metrics against MONAI's, on random masks of two and three axes with unequal spacing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from benchmarks.command import called
from benchmarks.harness import Figure, Goal, Row, Settings
from benchmarks.peers.environment import peers_python
from segmodels.metrics import mask_scores

#: Shape, size of a voxel in mm and tolerance of each case.
CASES = (
    ((120, 90), (1.0, 1.0), 1.0),
    ((77, 130), (0.7, 2.5), 2.5),
    ((200, 200), (0.25, 0.3), 1.1),
    ((40, 50, 45), (1.0, 1.0, 1.0), 2.0),
    ((24, 61, 47), (3.0, 0.8, 0.8), 2.0),
    ((33, 30, 52), (2.5, 1.3, 0.6), 3.0),
)
SEEDS = 5
BOUND = 1e-6
#: What MONAI's process gives, and whether it must agree: its own HD95 is interpolated in float32.
NAMES = (
    ("HD95 as MONAI rounds it", None),
    ("HD95, MONAI's distances in float64", Goal("≤", BOUND)),
    ("ASSD", Goal("≤", BOUND)),
    ("surface Dice", Goal("≤", BOUND)),
)


def random_mask(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Smooth shapes, some cut off by the border of the image."""
    noise = ndimage.gaussian_filter(rng.normal(size=shape), 3)
    return np.asarray(noise > 0.3 * noise.std(), bool)


def measure(settings: Settings) -> Sequence[Figure]:
    """Largest difference from MONAI per metric; distances in mm relative to the larger of 1 and their size."""
    python = peers_python()
    settings.note(f"{len(CASES)} kinds of masks, {SEEDS} of each")
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    ours: dict[str, tuple[float, ...]] = {}
    for number, (shape, spacing, tolerance) in enumerate(CASES):
        for seed in range(SEEDS):
            rng = np.random.default_rng([number, seed])
            truth = random_mask(shape, rng)
            guess = np.roll(truth, 2, axis=-1) ^ (random_mask(shape, rng) & random_mask(shape, rng))
            name = f"{number}-{seed}"
            arrays[f"{name}/truth"], arrays[f"{name}/prediction"] = truth, guess
            arrays[f"{name}/spacing"], arrays[f"{name}/tolerance"] = np.array(spacing), np.array(tolerance)
            found = mask_scores(truth, guess, spacing, tolerance=tolerance)
            ours[name] = (found.hd95, found.hd95, found.assd, found.surface_dice)
    file = settings.work / "metrics.npz"
    settings.work.mkdir(parents=True, exist_ok=True)
    np.savez(file, **arrays)  # type: ignore[arg-type]
    answer = called([str(python), "-m", "benchmarks.peers.metrics_worker", str(file)], settings)
    Path(file).unlink()
    theirs: dict[str, Sequence[float]] = answer["scores"]
    return [
        Figure(
            f"{metric}: largest difference",
            (max(abs(ours[n][i] - theirs[n][i]) / max(1.0, abs(theirs[n][i])) for n in ours),),
            goal=goal,
            details={"masks": len(ours), "peer": answer["versions"]},
        )
        for i, (metric, goal) in enumerate(NAMES)
    ]


ROW = Row("metrics", "HD95, ASSD and surface Dice against MONAI's", measure)
