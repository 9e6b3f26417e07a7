"""Images in memory whose pixels have a size, and whole runs of them on a lattice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.crs import CRS
from scipy import ndimage

from tasks.planning.plan import Plan
from tasks.resampling.image import resampled
from tasks.stitching.native import NativeStitch
from tests.tasks.conftest import ArrayImage
from tests.tasks.whole_run import plan_for, segment_all


def spaced(
    values: npt.NDArray[Any], spacing: Sequence[float], *, valid: npt.NDArray[np.bool_] | None = None
) -> ArrayImage:
    """``values`` ``(*spatial, channels)`` with pixels of ``spacing`` along the last axes, mm or m."""
    image = ArrayImage(values, valid=valid)
    if len(image.info.shape) == 2:
        y, x = spacing
        grid = {"crs": CRS.from_epsg(32632).to_wkt(), "transform": (x, 0.0, 5e5, 0.0, -y, 5e6)}
    else:
        z, y, x = spacing
        lead = len(image.info.shape) - 3
        grid = {
            "affine": np.diag([x, y, z, 1.0]).tolist(),
            "native_shape": [*reversed(image.info.shape[lead:]), *image.info.shape[:lead]],
            "orientation": ["R", "A", "S"],
            "spacing": [0.0] * lead + [z, y, x],
            "unit_mm": 1.0,
            "voxel_mm3": x * y * z,
        }
    image.info = replace(image.info, grid=grid)
    return image


def plan_on(image: ArrayImage, card: Any, folder: Path, **options: Any) -> Plan:
    """A plan on the card's lattice."""
    return plan_for(image, card, folder, **{"spacing": "card", **options})


def native(
    plan: Plan, image: ArrayImage, folder: Path, *, rows: int = 5
) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
    """Codes and confidence of the image's own pixels."""
    stitch = NativeStitch(plan, folder, rows=rows, image=lambda: image)
    low, high = plan.bounds
    codes = np.full([h - a for a, h in zip(low, high, strict=True)], 77, np.uint8)
    confidence = np.full(codes.shape, 77, np.uint8)
    for band in stitch.bands():
        codes[band.window], confidence[band.window] = band.codes, band.confidence
    return codes, confidence


def run_on(
    image: ArrayImage,
    card: Any,
    engine: Any,
    folder: Path,
    *,
    rows: int = 5,
    without: Sequence[int] = (),
    **options: Any,
) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8], Plan]:
    """Plan, blocks and stitch."""
    plan = plan_on(image, card, folder, **options)
    segment_all(plan, resampled(image, plan.resampling), engine, folder, without=without)
    return (*native(plan, image, folder, rows=rows), plan)


def places(size: int, other: int, step: float) -> npt.NDArray[np.float64]:
    """Where ``other`` pixels of ``step`` lie among ``size`` of one that begin at the same corner."""
    return np.clip((np.arange(other) + 0.5) * step - 0.5, 0, size - 1)


def by_scipy(
    values: npt.NDArray[Any], shape: Sequence[int], steps: Sequence[float]
) -> npt.NDArray[np.float64]:
    """``values`` ``(*spatial)`` at the pixels of another grid from the same corner, ``steps`` as large each."""
    at = np.meshgrid(
        *(places(n, m, s) for n, m, s in zip(values.shape, shape, steps, strict=True)), indexing="ij"
    )
    return ndimage.map_coordinates(values.astype(np.float64), at, order=1, mode="nearest")
