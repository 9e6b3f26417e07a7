"""Several rasters on one grid: the finest of theirs, where the others' pixels are whole multiples of its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rasterio.crs import CRS

from tasks.errors import InputError
from tasks.imagery.protocol import ImageInfo

#: Grids that lie this part of a pixel apart are one.
NEAR = 1e-3

Factors = tuple[int, int]


@dataclass(frozen=True)
class Common:
    """The grid that all share.

    Attributes:
        finest: Position of the first raster that is on it.
        factors: Per raster, how many of its pixels lie in one of theirs along rows and columns.
    """

    finest: int
    factors: tuple[Factors, ...]

    @property
    def same(self) -> bool:
        """Whether all are on it already."""
        return all(f == (1, 1) for f in self.factors)


def common_grid(infos: Sequence[ImageInfo], names: Sequence[str]) -> Common:
    """The finest grid, and how the others nest in it.

    Raises:
        InputError: Coordinate systems differ, or grids do not nest; the sentence says what to do.
    """
    finest = min(range(len(infos)), key=lambda i: (_area(infos[i]), i))
    fine = infos[finest]
    factors = []
    for info, name in zip(infos, names, strict=True):
        if not same_crs(fine, info):
            raise InputError(
                f"{names[finest]} and {name} are in different coordinate systems: bring them to one grid with "
                "gdalwarp -t_srs … -tr … -te … first"
            )
        found = nesting(info, fine)
        if found is None:
            raise InputError(
                f"{name} is on another grid than {names[finest]} ({_said(info)}; {_said(fine)}): bring it to that grid "
                f"with gdalwarp -tr {_size(fine)} -te … -r bilinear first"
            )
        factors.append(found)
    return Common(finest, tuple(factors))


def same_crs(one: ImageInfo, other: ImageInfo) -> bool:
    """Whether two rasters are in one coordinate system, or both in none."""
    a, b = one.grid["crs"], other.grid["crs"]
    if a == b or a is None or b is None:
        return bool(a == b)
    return bool(CRS.from_wkt(a) == CRS.from_wkt(b))


def nesting(coarse: ImageInfo, fine: ImageInfo) -> Factors | None:
    """How many fine pixels a coarse one is, if they begin at one corner and end at one; None if they do not nest."""
    a, b, c, d, e, f = coarse.grid["transform"]
    fa, fb, fc, fd, fe, ff = fine.grid["transform"]
    kx = round((a or d) / (fa or fd)) if (fa or fd) else 0
    ky = round((e or b) / (fe or fb)) if (fe or fb) else 0
    if kx < 1 or ky < 1:
        return None
    pixel = max(abs(fa), abs(fb), abs(fd), abs(fe))
    height, width = fine.shape[-2:]
    # How far the far corner of the finer grid is off, when it is counted in parts of the coarser pixels.
    across = [(a / kx - fa) * width + (b / ky - fb) * height, (d / kx - fd) * width + (e / ky - fe) * height]
    off = [c - fc, f - ff, *across]
    rows, columns = coarse.shape[-2:]
    covers = (rows - 1) * ky < height <= rows * ky and (columns - 1) * kx < width <= columns * kx
    return (ky, kx) if covers and all(abs(v) <= NEAR * pixel for v in off) else None


def _area(info: ImageInfo) -> float:
    a, b, _, d, e, _ = info.grid["transform"]
    return float(abs(a * e - b * d))


def _size(info: ImageInfo) -> str:
    a, b, _, d, e, _ = info.grid["transform"]
    return f"{abs(a or d):g} {abs(e or b):g}"


def _said(info: ImageInfo) -> str:
    transform = info.grid["transform"]
    return f"{info.shape[-1]} × {info.shape[-2]} pixels of {_size(info)} from {transform[2]:.10g}, {transform[5]:.10g}"
