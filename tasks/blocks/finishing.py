"""From complete sums to codes, or to a lattice's probabilities: by a block for what it alone touches, by the stitch for borders."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.codes import codes_of
from tasks.planning.plan import Plan
from tasks.resampling.shares import share_difference, share_softmax
from tasks.tiling.blend import finish
from tasks.tiling.grid import Index
from tasks.tiling.weights import weight_sum


def finish_cell(
    plan: Plan, low: Index, sums: npt.NDArray[Any], status: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
    """Codes and confidence of a box as the plan blends them.

    Args:
        plan: The run's plan.
        low: First pixel of the box per axis.
        sums: ``(planes, *box)``, of all tiles that vote on it.
        status: ``(*box)``, see ``kernels.PREDICTED``.

    Returns:
        Codes ``(*box)`` and confidence ``(*box)`` uint8.
    """
    return finish(
        sums,
        status,
        low,
        grid=plan.grid,
        blend=plan.blend,
        quantisation=plan.quantisation,
        codes=codes_of(plan.card),
    )


def share_cell(
    plan: Plan, low: Index, sums: npt.NDArray[Any], status: npt.NDArray[np.uint8]
) -> npt.NDArray[Any]:
    """Probabilities of a box of a lattice, from which the stitch makes classes of the image's pixels.

    Args:
        plan: The run's plan.
        low: First pixel of the box per axis.
        sums: ``(planes, *box)``, of all tiles that vote on it.
        status: ``(*box)``, see ``kernels.PREDICTED``.

    Returns:
        ``(planes, *box)``: uint16 per class, or int16 of the signed difference of two.
    """
    signed = plan.quantisation.planes == 1
    out = np.empty((len(sums), status.size), np.int16 if signed else np.uint16)
    flat = np.ascontiguousarray(sums).reshape(len(sums), -1)
    flat_status = np.ascontiguousarray(status).reshape(-1)
    if signed:
        high = tuple(a + n for a, n in zip(low, status.shape, strict=True))
        weights = weight_sum(plan.grid, plan.blend, low, high).reshape(-1)
        share_difference(flat[0], weights, plan.quantisation.probability_scale, flat_status, out[0])
    else:
        share_softmax(flat, flat_status, out)
    return out.reshape(sums.shape)
