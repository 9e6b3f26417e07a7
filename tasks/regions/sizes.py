"""True pixel sizes as the scanner wants them: m² on the ellipsoid, mm³, or plain pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.imagery.earth.areas import PixelAreas, pixel_areas
from tasks.imagery.protocol import ImageInfo
from tasks.regions.labeller import PixelSizes


@dataclass(frozen=True)
class VoxelSizes:
    """Every pixel has the same size: the voxel of a volume, mm³."""

    size: float
    col_step: float = 1.0

    def lines(self, start: int, stop: int) -> npt.NDArray[np.float64]:
        """``(stop - start, 1)``."""
        return np.full((stop - start, 1), self.size)

    def total(self, shape: tuple[int, ...]) -> float:
        """Size of the whole grid."""
        return self.size * math.prod(shape)


@dataclass(frozen=True)
class AreaSizes:
    """Geodesic areas of a raster's pixels, m² (or 1 where it has no CRS)."""

    areas: PixelAreas

    @property
    def col_step(self) -> float:
        return float(self.areas.col_step)

    def lines(self, start: int, stop: int) -> npt.NDArray[np.float64]:
        """``(stop - start, nodes)``: the lattice, interpolated along the rows."""
        nodes = np.arange(self.areas.lattice.shape[1]) * self.areas.col_step
        return self.areas.at(np.arange(start, stop)[:, np.newaxis], nodes[np.newaxis])

    def total(self, shape: tuple[int, ...]) -> float:
        """Size of the whole grid."""
        return self.areas.total((shape[0], shape[1]))


def voxel_volume(info: ImageInfo) -> float:
    """Volume of a voxel in mm³: the determinant of the affine, shears included."""
    affine = np.asarray(info.grid["affine"], float)[:3, :3] * float(info.grid["unit_mm"])
    return abs(float(np.linalg.det(affine)))


def pixel_sizes(info: ImageInfo) -> PixelSizes:
    """Sizes of an image's pixels."""
    return VoxelSizes(voxel_volume(info)) if info.field == "medical" else AreaSizes(pixel_areas(info))
