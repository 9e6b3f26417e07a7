"""What a run may hold and write at once: bytes of blocks, bands, memory and disk."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segmodels.bundles.card import Card
from tasks.errors import InputError
from tasks.imagery.protocol import ImageInfo
from tasks.planning.statistics import BAND_BYTES
from tasks.tiling.grid import Index, TileGrid
from tasks.tiling.weights import Quantisation

#: What one block may hold at once, besides the model itself.
BLOCK_BYTES = 192 << 20
BLOCK_TILES = 16
#: What the stitch and the regions may hold of full lines.
LINES_BYTES = 256 << 20
#: Interpreter, libraries and a compiled small model, measured with every engine (PSS).
BASE_BYTES = 900 << 20
#: A U-Net's first level holds a few dozen feature maps of the tile at once.
FEATURE_MAPS = 64


@dataclass(frozen=True)
class Budget:
    """Bounds of a run.

    Attributes:
        memory: Peak of the whole process tree, bytes.
        disk: Written at once, work files included, bytes.
    """

    memory: int
    disk: int


def choose_block(grid: TileGrid, *, pixel_bytes: int) -> Index:
    """Tiles per block and axis: as many as fit the memory of one block, near a cube.

    Slices (axes that the model does not see) are added last.
    """
    block = [1] * len(grid.axes)
    while True:
        growable = [d for d, a in enumerate(grid.axes) if block[d] < a.count]
        if not growable:
            break
        d = min(growable, key=lambda i: (grid.axes[i].tile == 1, block[i] * grid.axes[i].tile))
        bigger = [n + (i == d) for i, n in enumerate(block)]
        if _pixels(grid, tuple(bigger)) * pixel_bytes > BLOCK_BYTES or math.prod(bigger) > BLOCK_TILES:
            break
        block = bigger
    return tuple(block)


def _pixels(grid: TileGrid, block: Index) -> int:
    spans = [min(a.size, a.tile + (n - 1) * a.step) for a, n in zip(grid.axes, block, strict=True)]
    return int(np.prod(spans, dtype=object))


def block_pixel_bytes(info: ImageInfo, quantisation: Quantisation) -> int:
    """Bytes that a block holds per pixel: values twice, sums, status and the finished codes."""
    return 2 * _value_bytes(info) + _plane_bytes(quantisation) + 8


def _value_bytes(info: ImageInfo) -> int:
    return np.dtype(info.dtype).itemsize * len(info.channels)


def _plane_bytes(quantisation: Quantisation) -> int:
    return quantisation.planes * np.dtype(quantisation.dtype).itemsize


def _line(info: ImageInfo) -> int:
    """Pixels of one line of the slowest spatial axis."""
    cut = 1 if info.axes[0] == "t" else 0
    return int(np.prod(info.shape[cut + 1 :], dtype=object))


def stitch_rows(info: ImageInfo, quantisation: Quantisation) -> int:
    """Lines that stitch and regions hold at once: a power of two, up to a mask's block of 512."""
    line = _line(info) * (4 + _plane_bytes(quantisation) + 2 * _value_bytes(info))
    rows = 512
    while rows > 1 and rows * line > LINES_BYTES:
        rows //= 2
    return rows


def budget(
    info: ImageInfo, grid: TileGrid, quantisation: Quantisation, *, batch: int, card: Card, workers: int
) -> Budget:
    """Bounds the memory and disk of a run from its geometry."""
    blocks = workers * _pixels(grid, grid.block) * block_pixel_bytes(info, quantisation)
    model = 2 * batch * math.prod(grid.tile) * 4 * (len(card.channels) + card.logits + FEATURE_MAPS)
    line = _line(info) * (4 + _plane_bytes(quantisation) + 2 * _value_bytes(info))
    bands = line * min(_rows(info), stitch_rows(info, quantisation)) + 4 * BAND_BYTES
    return Budget(BASE_BYTES + max(blocks + model, bands), _disk(info, grid, quantisation))


def _rows(info: ImageInfo) -> int:
    return info.shape[1 if info.axes[0] == "t" else 0]


def _disk(info: ImageInfo, grid: TileGrid, quantisation: Quantisation) -> int:
    """Codes and confidence of every pixel, border sums of what blocks share, the mask and its copy."""
    pixels = int(np.prod(info.shape, dtype=object))
    alone, touched = 1.0, 1.0
    for b in grid.block_axes:
        overlap = b.axis.tile - b.axis.step
        alone *= max(0.0, 1 - (b.count - 1) * overlap / b.axis.size)
        touched *= 1 + (b.count - 1) * overlap / b.axis.size
    return int(4 * pixels + pixels * (touched - alone) * (_plane_bytes(quantisation) + 1))


def check_budget(wanted: Budget, folder: Path, *, path: Path) -> None:
    """Refuses a run that cannot fit.

    Args:
        wanted: What the run needs.
        folder: Where it writes; must exist.
        path: The image, for the sentence.

    Raises:
        InputError: Not enough memory or disk; names the setting that helps.
    """
    memory, disk = memory_limit(), shutil.disk_usage(folder).free
    if wanted.memory > memory:
        raise InputError(
            f"{path} needs about {wanted.memory / 2**30:.1f} GiB of memory as planned and this machine gives "
            f"{memory / 2**30:.1f} GiB: give a smaller --tile or --block, or fewer --workers"
        )
    if wanted.disk > disk:
        raise InputError(
            f"{path} needs up to {wanted.disk / 2**30:.1f} GiB in {folder} and {disk / 2**30:.1f} GiB are free: "
            f"free some space or give another --out"
        )


def memory_limit() -> int:
    """Bytes that this process may use: of the machine, or of its control group if that is less."""
    limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        file = Path("/sys/fs/cgroup") / name
        if file.is_file() and (text := file.read_text().strip()).isdigit():
            limit = min(limit, int(text))
    return limit
