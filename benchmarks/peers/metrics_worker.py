"""MONAI's surface metrics of masks in a file: ``python -m benchmarks.peers.metrics_worker MASKS.npz``."""

from __future__ import annotations

import json
import sys
import warnings

import monai
import numpy as np
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_hausdorff_distance,
    compute_surface_dice,
)
from monai.metrics.utils import get_edge_surface_distance


def main() -> None:
    """Prints one JSON object: versions, and per case HD95 twice, ASSD and surface Dice.

    MONAI interpolates the percentile in float32, whose rounding alone exceeds 1e-6; so the second HD95
    is the percentile of the same distances in float64.
    """
    warnings.filterwarnings("ignore")
    masks = np.load(sys.argv[1])
    scores = {}
    for name in sorted({key.split("/")[0] for key in masks.files}):
        truth, guess = (_one_hot(masks[f"{name}/{which}"]) for which in ("truth", "prediction"))
        spacing = masks[f"{name}/spacing"].tolist()
        tolerance = float(masks[f"{name}/tolerance"])
        common = {"include_background": False, "spacing": spacing}
        scores[name] = [
            float(compute_hausdorff_distance(guess, truth, percentile=95, **common)),
            _hd95(guess[0, 1].bool(), truth[0, 1].bool(), spacing),
            float(compute_average_surface_distance(guess, truth, symmetric=True, **common)),
            float(compute_surface_dice(guess, truth, [tolerance], **common)),
        ]
    versions = f"MONAI {monai.__version__}, torch {torch.__version__}"
    print(json.dumps({"versions": versions, "scores": scores}))


def _hd95(guess: torch.Tensor, truth: torch.Tensor, spacing: list[float]) -> float:
    _, distances, _ = get_edge_surface_distance(guess, truth, spacing=spacing, symmetric=True)
    return max(float(torch.quantile(d.double(), 0.95)) for d in distances)


def _one_hot(mask: np.ndarray) -> torch.Tensor:
    """``(1, 2, *spatial)``: background and mask."""
    return torch.from_numpy(np.stack([~mask, mask])[np.newaxis].astype(np.float32))


if __name__ == "__main__":
    main()
