"""What a run on a lattice holds and writes besides: sampled pixels, probabilities of blocks, lines on their way back."""

from __future__ import annotations

import math

import numpy as np

from tasks.blocks.blockfile import SLAB_BYTES
from tasks.imagery.protocol import ImageInfo
from tasks.resampling.image import sampling_bytes
from tasks.resampling.lattice import Resampling
from tasks.tiling.grid import Index, TileGrid
from tasks.tiling.weights import Quantisation

#: A probability in a block's file.
_SHARE_BYTES = 2


def value_bytes(info: ImageInfo) -> int:
    """Bytes of all channels of a pixel."""
    return np.dtype(info.dtype).itemsize * len(info.channels)


def plane_bytes(quantisation: Quantisation) -> int:
    """Bytes of a pixel's sums."""
    return quantisation.planes * np.dtype(quantisation.dtype).itemsize


def sampled_block_bytes(info: ImageInfo, grid: TileGrid, quantisation: Quantisation) -> int:
    """What a block on a lattice holds besides: pixels that are sampled, probabilities that are written.

    Args:
        info: Of the image.
        grid: Of the lattice.
        quantisation: The integers of the blend.
    """
    return sampling_bytes(info) + share_block_bytes(grid, quantisation)


def share_block_bytes(grid: TileGrid, quantisation: Quantisation) -> int:
    """Probabilities of a block that are written.

    Args:
        grid: Whose blocks.
        quantisation: The integers of the blend.
    """
    widest = [
        max(b.span(i)[1] - b.span(i)[0] for i in {0, min(1, b.count - 1), b.count - 1})
        for b in grid.block_axes
    ]
    return math.prod(widest) * (quantisation.planes * _SHARE_BYTES + 1)


def lattice_lines_bytes(
    info: ImageInfo, grid: TileGrid, quantisation: Quantisation, rows: int, resampling: Resampling
) -> int:
    """What the stitch and the regions, side by side, hold of ``rows`` lines of the image and of those of the lattice.

    Args:
        info: Of the results.
        grid: Of the lattice.
        quantisation: The integers of the blend.
        rows: Lines of the image.
        resampling: How the lattice lies in the image.
    """
    cut = max(0, len(info.shape) - 3)
    # Both look at the image for its pixels without data, the regions for its values too.
    own = math.prod(info.shape[cut + 1 :]) * (2 * 6 + 4 * (value_bytes(info) + 1))
    steps, size = resampling.steps[cut:], grid.shape[cut:]
    wide = [
        min(n, math.ceil(v / s) + 2)
        for n, v, s in zip(size, (rows, *info.shape[cut + 1 :]), steps, strict=True)
    ]
    shares = quantisation.planes * _SHARE_BYTES + 1
    sums = plane_bytes(quantisation) + shares if grid.borders == "stored" else 0
    slab = max(SLAB_BYTES, math.prod(wide[1:]) * shares)
    return rows * own + 2 * (math.prod(wide) * (shares + sums) + 2 * slab)


def shares_bytes(grid: TileGrid, quantisation: Quantisation, window: tuple[Index, Index] | None) -> int:
    """Probabilities and status that blocks leave, uncompressed.

    Args:
        grid: Of the lattice.
        quantisation: The integers of the blend.
        window: First pixel and end of what is stitched, on the lattice; None for all of it.
    """
    low, high = window or ((0,) * len(grid.axes), grid.shape)
    pixels = math.prod(max(0, h - a) for a, h in zip(low, high, strict=True))
    return pixels * (quantisation.planes * _SHARE_BYTES + 1)
