"""Probabilities of every class, band by band, from what the blocks of a run left."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.compiled import compiled
from tasks.imagery.protocol import Window
from tasks.planning.opened import open_native
from tasks.planning.plan import Plan
from tasks.resampling.lattice import SHARES
from tasks.resampling.shares import CERTAIN, CERTAIN_DIFFERENCE
from tasks.stitching.joined import JoinedBlocks
from tasks.stitching.native import NativeStitch
from tasks.stitching.stitch import band_boxes
from tasks.tiling.grid import Index
from tasks.tiling.kernels import FAILED, PREDICTED
from tasks.work import WorkFolder

#: What a band may take, in bytes, all its forms together.
BAND_BYTES = 96 << 20

Places = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class ProbabilityBand:
    """Lines of probabilities.

    Attributes:
        window: Where they lie in the mask; bands follow one another in raster order.
        values: ``(classes, *window)``, NaN where nothing was predicted.
    """

    window: Window
    values: npt.NDArray[np.float32]


def probability_bands(plan: Plan, work: WorkFolder) -> Iterator[ProbabilityBand]:
    """Every band of a run's probabilities, in raster order.

    Args:
        plan: The run's plan, which asks for them.
        work: Its folders; the blocks are finished.

    Raises:
        InputError: The image of a run on a lattice cannot be opened any more.
    """
    rows = band_rows(plan)
    for low, high, planes, status, places, own in _boxes(plan, work, rows=rows):
        values = np.empty((len(plan.card.classes), *own.shape), np.float32)
        volume, box = (1, *own.shape)[-3:], (1, *status.shape)[-3:]
        _mix(
            planes.reshape(-1, *box),
            status.reshape(box),
            *places,
            own.reshape(volume),
            values.reshape(-1, *volume),
        )
        values[:, _outside(plan, low, high)] = np.nan
        window = tuple(slice(a - o, h - o) for a, h, o in zip(low, high, plan.bounds[0], strict=True))
        yield ProbabilityBand(window, values)


def band_rows(plan: Plan) -> int:
    """Lines of a band: a power of two."""
    low, high = plan.bounds
    cut = max(0, len(low) - 3)
    line = math.prod(h - a for a, h in zip(low[cut + 1 :], high[cut + 1 :], strict=True))
    # Sums of borders and shares, values, and the form in which they are written.
    pixel = plan.quantisation.planes * 10 + len(plan.card.classes) * 12 + 8
    rows = 512
    while rows > 1 and rows * line * pixel > BAND_BYTES:
        rows //= 2
    return rows


_Box = tuple[Index, Index, npt.NDArray[Any], npt.NDArray[np.uint8], list[Places], npt.NDArray[np.uint8]]


def _boxes(plan: Plan, work: WorkFolder, *, rows: int) -> Iterator[_Box]:
    """Bands of the image: its end, blended probabilities around it, where its pixels lie in them, their status."""
    if plan.resampling is not None:
        image = partial(open_native, plan, scratch=work.scratch)
        stitch = NativeStitch(plan, work.blocks, rows=rows, image=image)
        for low, high, lines, own in stitch.boxes():
            yield low, high, lines.shares, lines.status, stitch.places(low, high, lines.low), own
        return
    blocks = JoinedBlocks(plan, work.blocks)
    planes = plan.quantisation.planes
    for low, high in band_boxes(plan, rows=rows):
        shape = tuple(h - a for a, h in zip(low, high, strict=True))
        shares = np.empty((planes, *shape), np.int16 if planes == 1 else np.uint16)
        status = np.empty(shape, np.uint8)
        blocks.shares(low, high, shares, status)
        places = [(np.arange(n), np.zeros(n, np.int64)) for n in (1, *shape)[-3:]]
        yield low, high, shares, status, places, status


def _outside(plan: Plan, low: Index, high: Index) -> npt.NDArray[np.bool_]:
    """Pixels of a box that a preview's area or a region of interest leaves out."""
    out = np.zeros([h - a for a, h in zip(low, high, strict=True)], np.bool_)
    if plan.area is not None and plan.area.bitmap is not None:
        out |= ~plan.area.inside(low, high)
    if plan.roi is not None:
        seen = np.zeros_like(out)
        a, b = tuple(map(max, low, plan.roi.low)), tuple(map(min, high, plan.roi.high))
        if all(p < q for p, q in zip(a, b, strict=True)):
            at = tuple(slice(p - o, q - o) for p, q, o in zip(a, b, low, strict=True))
            seen[at] = plan.roi.inside(a, b)
        out |= ~seen
    return out


@compiled(boundscheck=False, error_model="numpy")
def _mix(
    planes: npt.NDArray[Any],
    status: npt.NDArray[np.uint8],
    z: Places,
    y: Places,
    x: Places,
    own: npt.NDArray[np.uint8],
    out: npt.NDArray[np.float32],
) -> None:
    """Probabilities of pixels from those around them, weighed as ``tasks.resampling.shares.classify`` weighs them.

    Args:
        planes: ``(classes, z, y, x)`` uint16, or ``(1, z, y, x)`` int16 of the signed difference of two.
        status: ``(z, y, x)``.
        z, y, x: Per pixel along an axis, the neighbour before and the share of the one after.
        own: Status ``(pixels z, y, x)``.
        out: ``(classes, pixels z, y, x)``, written; NaN where nothing was predicted.
    """
    nc = planes.shape[0]
    nz, ny, nx = own.shape
    at = np.empty((8, 3), np.int64)
    share = np.empty(8, np.float64)
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                n, known, good = 0, 0.0, own[k, j, i] == PREDICTED
                for corner in range(8):
                    dz, dy, dx = corner >> 2, (corner >> 1) & 1, corner & 1
                    a = z[1][k] if dz else SHARES - z[1][k]
                    b = y[1][j] if dy else SHARES - y[1][j]
                    c = x[1][i] if dx else SHARES - x[1][i]
                    weight = np.float64(a * b) * np.float64(c)
                    if weight == 0 or not good:
                        continue
                    p, q, r = z[0][k] + dz, y[0][j] + dy, x[0][i] + dx
                    if status[p, q, r] == FAILED:
                        good = False
                    elif status[p, q, r] == PREDICTED:
                        at[n, 0], at[n, 1], at[n, 2] = p, q, r
                        share[n] = weight
                        known += weight
                        n += 1
                if not good or n == 0:
                    out[:, k, j, i] = np.nan
                    continue
                for c in range(nc):
                    total = 0.0
                    for m in range(n):
                        total += share[m] * np.float64(planes[c, at[m, 0], at[m, 1], at[m, 2]])
                    if nc == 1:
                        second = 0.5 + 0.5 * total / (CERTAIN_DIFFERENCE * known)
                        out[0, k, j, i], out[1, k, j, i] = np.float32(1.0 - second), np.float32(second)
                    else:
                        out[c, k, j, i] = np.float32(total / (CERTAIN * known))
