"""The grid of a lattice in the world: the image's corner, other steps."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from segmodels.normalise import Normaliser
from tasks.imagery.protocol import ImageInfo
from tasks.imagery.volume.orientation import axis_map, spatial
from tasks.resampling.lattice import Resampling


def sampled_info(info: ImageInfo, resampling: Resampling) -> ImageInfo:
    """What is known of an image on a lattice; its first pixel's corner is the image's."""
    chunk = tuple(max(1, round(c / s)) for c, s in zip(info.chunk, resampling.steps, strict=True))
    return replace(
        info,
        shape=resampling.lattice,
        chunk=tuple(min(c, n) for c, n in zip(chunk, resampling.lattice, strict=True)),
        dtype=np.dtype(Normaliser.dtype_for(np.dtype(info.dtype))).name,
        grid=_grid(info, resampling),
        nodata=None,
    )


def _grid(info: ImageInfo, resampling: Resampling) -> dict[str, Any]:
    """As :attr:`ImageInfo.grid`, of the lattice."""
    if "transform" in info.grid:
        a, b, c, d, e, f = info.grid["transform"]
        y, x = resampling.steps[-2:]
        return {**info.grid, "transform": (a * x, b * y, c, d * x, e * y, f)}
    return _volume(info, resampling)


def _volume(info: ImageInfo, resampling: Resampling) -> dict[str, Any]:
    affine = np.asarray(info.grid["affine"], float).copy()
    native = list(spatial(tuple(info.grid["native_shape"])))
    first, steps = np.zeros(3), np.ones(3)
    for (axis, flip), size, step in zip(
        axis_map(affine), resampling.lattice[-3:], resampling.steps[-3:], strict=True
    ):
        # Of an axis that the file runs the other way, the lattice's last pixel is the file's first.
        centre = (0.5 if flip > 0 else size - 0.5) * step - 0.5
        first[axis] = centre if flip > 0 else native[axis] - 1 - centre
        steps[axis], native[axis] = step, size
    affine[:3, 3] += affine[:3, :3] @ first
    affine[:3, :3] *= steps
    declared = [int(n) for n in info.grid["native_shape"]]
    spacing = [v * s for v, s in zip(info.grid["spacing"], resampling.steps, strict=True)]
    return {
        **info.grid,
        "affine": affine.tolist(),
        "native_shape": native[: len(declared)] + declared[3:],
        "spacing": spacing,
        "voxel_mm3": info.grid["voxel_mm3"] * math.prod(resampling.steps),
    }
