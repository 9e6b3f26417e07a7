"""From complete sums to codes: by a block for what it alone touches, by the stitch for borders."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.codes import codes_of
from tasks.planning.plan import Plan
from tasks.tiling.blend import finish
from tasks.tiling.grid import Index


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
