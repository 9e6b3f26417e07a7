"""Compiled gathering and normalising: source pixels become a model's input in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from segmodels.normalise import Normaliser
from tasks.compiled import compiled

Positions = npt.NDArray[np.int64]


@compiled(boundscheck=False, error_model="numpy")
def _fill(
    values: npt.NDArray[Any],
    valid: npt.NDArray[np.bool_],
    z: Positions,
    y: Positions,
    x: Positions,
    consecutive: bool,
    low: npt.NDArray[Any],
    high: npt.NDArray[Any],
    offset: npt.NDArray[Any],
    scale: npt.NDArray[Any],
    out: npt.NDArray[np.float32],
    seen: npt.NDArray[np.bool_],
) -> None:
    nx, nc = out.shape[2], out.shape[3]
    number = low.dtype.type
    for k in range(z.shape[0]):
        for j in range(y.shape[0]):
            row, known = values[z[k], y[j]], valid[z[k], y[j]]
            target = out[k, j].reshape(nx * nc)
            if consecutive:
                source = row[x[0] : x[0] + nx].reshape(nx * nc)
                for i in range(nx * nc):
                    v = min(max(number(source[i]), low[i]), high[i])
                    target[i] = np.float32((v - offset[i]) * scale[i])
            else:
                for i in range(nx):
                    for c in range(nc):
                        n = i * nc + c
                        v = min(max(number(row[x[i], c]), low[n]), high[n])
                        target[n] = np.float32((v - offset[n]) * scale[n])
            for i in range(nx):
                seen[k, j, i] = known[x[i]]
                if not known[x[i]]:
                    for c in range(nc):
                        target[i * nc + c] = np.float32(0.0)


def fill_tile(
    values: npt.NDArray[Any],
    valid: npt.NDArray[np.bool_],
    positions: tuple[Positions, ...],
    *,
    normaliser: Normaliser,
    out: npt.NDArray[np.float32],
) -> npt.NDArray[np.bool_]:
    """Gathers a tile and normalises it as ``normaliser`` does, to the last bit.

    Args:
        values: ``(*spatial, channels)``, C-contiguous.
        valid: ``(*spatial)``, C-contiguous.
        positions: Per spatial axis, which of its entries the tile takes.
        normaliser: One number per channel.
        out: ``(*tile, channels)``, C-contiguous; filled, 0 where not valid.

    Returns:
        Validity ``(*tile)``.
    """
    tile = tuple(len(p) for p in positions)
    lead = len(positions) - 3
    seen = np.empty(tile, np.bool_)
    limits = tuple(
        np.tile(np.asarray(n, normaliser.dtype_for(values.dtype)), tile[-1])
        for n in (normaliser.low, normaliser.high, normaliser.offset, normaliser.scale)
    )
    spatial = [np.zeros(1, np.int64)] * max(0, -lead) + list(positions[max(0, lead) :])
    z, y, x = spatial
    consecutive = bool((np.diff(x) == 1).all())
    for head in np.ndindex(*tile[: max(0, lead)]):
        at = tuple(int(p[i]) for p, i in zip(positions, head, strict=False))
        _fill(
            _as_volume(values[at], 1),
            _as_volume(valid[at], 0),
            z,
            y,
            x,
            consecutive,
            limits[0],
            limits[1],
            limits[2],
            limits[3],
            _as_volume(out.reshape(*tile, out.shape[-1])[head], 1),
            _as_volume(seen[head], 0),
        )
    return seen


def _as_volume(a: npt.NDArray[Any], tail: int) -> npt.NDArray[Any]:
    """Leading axes of size 1 until three are spatial."""
    return a.reshape((1,) * (3 + tail - a.ndim) + a.shape)
