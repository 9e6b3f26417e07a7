"""Distances between the surfaces of two masks: HD95, ASSD, surface Dice.

A surface is made of the voxels of a mask that touch a voxel outside it through a face; the image's border
counts as outside. Distances are Euclidean between voxel centres, times the spacing. These are MONAI's
definitions (``get_mask_edges`` and what builds on it); DeepMind's ``surface-distance`` weighs each surface
element by its area instead, so that its figures differ slightly.

Surfaces are found window by window and kept as lists of positions: no volume is ever held, and memory
grows with the surface alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Status = Literal["ok", "absent from both", "absent from the truth", "absent from the prediction"]
Positions = npt.NDArray[np.int32]


@dataclass(frozen=True)
class SurfaceScores:
    """Scores of one class.

    Attributes:
        status: Why the scores are NaN, or *ok*.
        hd95: The larger of the two directed 95th percentiles of distances.
        assd: Mean distance over all voxels of both surfaces to the other surface.
        surface_dice: Share of all voxels of both surfaces within the tolerance of the other.
    """

    status: Status
    hd95: float
    assd: float
    surface_dice: float


def surface_positions(mask: npt.NDArray[np.bool_]) -> Positions:
    """Positions of a mask's surface voxels, ``(voxels, axes)``; what lies beyond the array is outside."""
    return np.argwhere(mask & borders(mask)).astype(np.int32)


def borders(codes: npt.NDArray[Any], inner: tuple[slice, ...] | None = None) -> npt.NDArray[np.bool_]:
    """Where a code has another one across a face, or the array's end: the surfaces of all classes at once.

    Args:
        codes: ``(*spatial)``.
        inner: Only this part is wanted; the rest is what its voxels' neighbours need.

    Returns:
        ``(*inner)``.
    """
    part = inner or tuple(slice(0, n) for n in codes.shape)
    centre = codes[part]
    found = np.zeros(centre.shape, bool)
    for axis, (size, where) in enumerate(zip(codes.shape, part, strict=True)):
        for step in (-1, 1):
            first = max(where.start + step, 0)
            last = min(where.stop + step, size)
            moved = codes[(*part[:axis], slice(first, last), *part[axis + 1 :])]
            at = [slice(None)] * codes.ndim
            at[axis] = slice(first - step - where.start, last - step - where.start)
            found[tuple(at)] |= moved != centre[tuple(at)]
            ends = [slice(None)] * codes.ndim
            if where.start + step < 0:
                ends[axis] = slice(0, 1)
                found[tuple(ends)] = True
            elif where.stop + step > size:
                ends[axis] = slice(-1, None)
                found[tuple(ends)] = True
    return found


def nearest_distances(
    of: Positions, to: Positions, spacing: Sequence[float], *, workers: int = 1
) -> npt.NDArray[np.float64]:
    """Distance of each position to the nearest of others, in the unit of the spacing."""
    from scipy.spatial import cKDTree

    scale = np.asarray(spacing, np.float64)
    # Neighbours come in long runs of equal coordinates, which balanced trees are slow to build on.
    tree = cKDTree(to * scale, balanced_tree=False, compact_nodes=False)
    _, nearest = tree.query(of * scale, workers=workers)
    # From whole steps, so that a distance equal to a tolerance is not lost to rounding.
    difference = (of - to[nearest]) * scale
    return np.sqrt((difference**2).sum(axis=1))


def surface_scores(
    truth: Positions, prediction: Positions, spacing: Sequence[float], *, tolerance: float, workers: int = 1
) -> SurfaceScores:
    """Scores from the surface voxels of both masks.

    Args:
        truth: ``(voxels, axes)``, as :func:`surface_positions` gives them.
        prediction: Likewise.
        spacing: Size of a voxel per axis, in mm for medical images.
        tolerance: Distance in the same unit up to which a surface voxel counts as found.
        workers: Threads.
    """
    nan = float("nan")
    if not len(truth) or not len(prediction):
        missing = [name for name, of in (("truth", truth), ("prediction", prediction)) if not len(of)]
        both = len(missing) == 2
        status: Status = (
            "absent from both"
            if both
            else "absent from the truth"
            if missing == ["truth"]
            else "absent from the prediction"
        )
        return SurfaceScores(status, nan, nan, nan)
    there = nearest_distances(prediction, truth, spacing, workers=workers)
    back = nearest_distances(truth, prediction, spacing, workers=workers)
    number = len(there) + len(back)
    return SurfaceScores(
        "ok",
        hd95=float(max(np.percentile(there, 95), np.percentile(back, 95))),
        assd=float((there.sum() + back.sum()) / number),
        surface_dice=float(((there <= tolerance).sum() + (back <= tolerance).sum()) / number),
    )


def mask_scores(
    truth: npt.NDArray[Any], prediction: npt.NDArray[Any], spacing: Sequence[float], *, tolerance: float
) -> SurfaceScores:
    """Scores of two whole masks ``(*spatial)``, true where the class is.

    Raises:
        ValueError: Their shapes differ, or the spacing has not one entry per axis.
    """
    if truth.shape != prediction.shape or len(spacing) != truth.ndim:
        raise ValueError(
            f"truth {truth.shape}, prediction {prediction.shape} and spacing {tuple(spacing)} do not agree"
        )
    t, p = truth.astype(bool), prediction.astype(bool)
    return surface_scores(surface_positions(t), surface_positions(p), spacing, tolerance=tolerance)
