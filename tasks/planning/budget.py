"""What a run holds and writes at most: bytes of blocks, of the model, of the stitch, on disk.

Every term is counted from what the steps allocate; ``BASE_BYTES`` and what libraries keep were
measured as the proportional set size of the whole process tree.
"""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from segmodels.bundles.card import Card
from tasks.imagery.protocol import ImageInfo
from tasks.imagery.views.shared import cells_of, shared_bytes
from tasks.imagery.volume.dicom.price import dicom_bytes, dicom_disk
from tasks.planning.outputs import Probabilities
from tasks.planning.sampled import (
    lattice_lines_bytes,
    plane_bytes,
    sampled_block_bytes,
    share_block_bytes,
    shares_bytes,
    value_bytes,
)
from tasks.planning.statistics import BAND_BYTES
from tasks.resampling.grid import sampled_info
from tasks.resampling.image import sampling_bytes
from tasks.resampling.lattice import Resampling, on_lattice_window
from tasks.tiling.grid import BlockAxis, Index, TileGrid
from tasks.tiling.weights import Quantisation

#: What one block may hold at once, besides the model itself.
BLOCK_BYTES = 192 << 20
BLOCK_TILES = 16
#: Chunks of an array that ``zarr`` decodes at once, compressed and decoded, of two readers (measured).
DECODED_CHUNKS = 24
#: What the stitch and the regions may hold of full lines.
LINES_BYTES = 256 << 20
#: Interpreter, imported libraries, a small compiled model and the report, measured by engine (PSS;
#: 600, 640 and 910 MiB with what is loaded ahead); ``jax`` and ``torch`` are guesses.
BASE_BYTES = {"method": 660 << 20, "openvino": 740 << 20}
OTHER_BASE_BYTES = 1040 << 20
#: Prefect's client and its embedded server, measured as 270 to 350 MiB more.
SERVER_BYTES = 400 << 20
#: A U-Net's first level holds a few dozen feature maps of the tile at once.
FEATURE_MAPS = 64
#: Engines that serve each worker with buffers of its own.
SEVERAL_CALLERS = ("openvino", "method")
#: Ranges of an address that are on their way.
FETCHING_BYTES = 48 << 20
#: Labels of the regions: per label parent, integers and sums; their arrays double when they grow.
LABEL_BYTES = 2 * (8 + 12 * 8 + 4 * 8)
#: A region in the tables, from its labels until it is written (measured).
REGION_BYTES = 900
#: Regions that the plan's memory counts on: one in so many pixels, and so many at most.
REGION_PIXELS, MOST_REGIONS = 1000, 100_000
#: Of a class and pixel as published (float16 lies in the flat file as float32), and of the band in the making
#: with what GDAL keeps of the files.
PROBABILITY_BYTES = {"uint8": 1, "float16": 4}
BAND_OF_PROBABILITIES = 512 << 20
#: Runs of two slices, as the scanner keeps them.
RUN_BYTES = 2 * 32


@dataclass(frozen=True)
class Budget:
    """Bounds of a run.

    Attributes:
        memory: Peak of the whole process tree, bytes.
        disk: Written at once, work files included, bytes.
        result: Of these, what stays: the mask, bytes.
        block: Of the memory, one block in flight.
        model: Of the memory, the model's own buffers (on the GPU where it runs there).
    """

    memory: int
    disk: int
    result: int = 0
    block: int = 0
    model: int = 0


def choose_block(
    grid: TileGrid, *, pixel_bytes: int, limit: int = BLOCK_BYTES, most: int = BLOCK_TILES
) -> Index:
    """Tiles per block and axis: as many as fit ``limit`` bytes, near a cube, at most ``most``.

    Slices (axes that the model does not see) are added last.
    """
    block = [1] * len(grid.axes)
    while True:
        growable = [d for d, a in enumerate(grid.axes) if block[d] < a.count]
        if not growable:
            break
        d = min(growable, key=lambda i: (grid.axes[i].tile == 1, block[i] * grid.axes[i].tile))
        bigger = [n + (i == d) for i, n in enumerate(block)]
        if _pixels(grid, tuple(bigger)) * pixel_bytes > limit or math.prod(bigger) > most:
            break
        block = bigger
    return tuple(block)


def _pixels(grid: TileGrid, block: Index) -> int:
    spans = [min(a.size, a.tile + (n - 1) * a.step) for a, n in zip(grid.axes, block, strict=True)]
    return int(np.prod(spans, dtype=object))


def block_pixel_bytes(info: ImageInfo, quantisation: Quantisation) -> int:
    """Bytes that a block holds per pixel: values twice, sums, status and the finished codes."""
    return 2 * value_bytes(info) + plane_bytes(quantisation) + 8


def block_bytes(
    info: ImageInfo, grid: TileGrid, quantisation: Quantisation, *, batch: int, card: Card
) -> int:
    """What the largest block holds at once: pixels read, sums, inputs and logits of a batch."""
    read, owned = 1, 1
    for axis in grid.block_axes:
        sizes = [
            _extents(axis, b) for b in {0, min(1, axis.count - 1), max(0, axis.count - 2), axis.count - 1}
        ]
        read *= max(r for r, _ in sizes)
        owned *= max(o for _, o in sizes)
    # With stored borders the finished inside is taken out of the sums, a copy of nearly all of them.
    sums = plane_bytes(quantisation) * (2 if grid.borders == "stored" else 1)
    weights = 8 if quantisation.planes == 1 else 0
    tile = math.prod(grid.tile) * 4
    # The logits before live until those of the next batch are there, and are looked through for NaN.
    tiles = batch * tile * (3 * len(card.channels) + 2 * card.logits) + tile * card.logits // 4
    return read * (2 * value_bytes(info) + 3) + owned * (sums + weights + 6) + tiles


def _extents(axis: BlockAxis, b: int) -> tuple[int, int]:
    """Pixels that block ``b`` reads and answers for, along one axis."""
    tiles = axis.computed(b)
    low, high = axis.span(b)
    read = axis.axis.inside(tiles[-1])[1] - axis.axis.inside(tiles[0])[0] if tiles else 0
    return max(1, read), max(1, high - low)


def base_bytes(engine: str, *, server: bool) -> int:
    """What a run holds that does not depend on the image: libraries, and Prefect unless run without."""
    return BASE_BYTES.get(engine, OTHER_BASE_BYTES) + (SERVER_BYTES if server else 0)


def model_bytes(grid: TileGrid, *, batch: int, card: Card, engine: str, maps: int = 0) -> int:
    """What the model itself holds while it runs a batch."""
    network = 0 if engine == "method" else 2 * FEATURE_MAPS * card.members
    maps += 2 * len(card.channels) + card.logits + network
    return batch * math.prod(grid.tile) * 4 * maps


def _line(info: ImageInfo) -> int:
    """Pixels of one line of the slowest spatial axis."""
    cut = 1 if info.axes[0] == "t" else 0
    return int(np.prod(info.shape[cut + 1 :], dtype=object))


def line_bytes(info: ImageInfo, grid: TileGrid, quantisation: Quantisation) -> int:
    """What the stitch and the regions, side by side, hold of each line at once."""
    sums = plane_bytes(quantisation) if grid.borders == "stored" else 0
    return _line(info) * (2 * (4 + sums) + 2 * value_bytes(info))


def _lines_bytes(
    info: ImageInfo, grid: TileGrid, quantisation: Quantisation, rows: int, resampling: Resampling | None
) -> int:
    """What the stitch and the regions hold of ``rows`` lines."""
    if resampling is None:
        return rows * line_bytes(info, grid, quantisation)
    return lattice_lines_bytes(info, grid, quantisation, rows, resampling)


def stitch_rows(
    info: ImageInfo,
    grid: TileGrid,
    quantisation: Quantisation,
    *,
    limit: int = LINES_BYTES,
    resampling: Resampling | None = None,
) -> int:
    """Lines that stitch and regions hold at once: a power of two, up to a mask's block of 512."""
    rows = 512
    while rows > 1 and _lines_bytes(info, grid, quantisation, rows, resampling) > limit:
        rows //= 2
    return rows


def budget(
    info: ImageInfo,
    grid: TileGrid,
    quantisation: Quantisation,
    *,
    batch: int,
    card: Card,
    workers: int,
    rows: int,
    engine: str,
    server: bool,
    kept: int = 0,
    processes: int | None = None,
    window: tuple[Index, Index] | None = None,
    maps: int = 0,
    resampling: Resampling | None = None,
    probabilities: Probabilities = "none",
) -> Budget:
    """Bounds the memory and disk of a run from its geometry.

    Args:
        info: The image's header; of a preview, with the shape of its window.
        grid: Of the whole image.
        rows: Lines that stitch and regions hold.
        engine: Name of what runs the model.
        server: Whether Prefect runs beside it.
        kept: Bytes of decoded storage that blocks of a process share.
        processes: Workers of a cluster on this machine, each with its own model; 0: all are elsewhere; None: no
            cluster, this process computes.
        window: First pixel and end of a preview's window, which is all that its blocks leave.
        maps: float32 maps of a tile that a classical method holds.
        resampling: The lattice that the grid lies on; None for the image's own pixels.
        probabilities: Type of those that are left beside the mask.
    """
    seen = info if resampling is None else sampled_info(info, resampling)
    block = block_bytes(seen, grid, quantisation, batch=batch, card=card)
    if resampling is not None:
        block += sampled_block_bytes(info, grid, quantisation)
    elif probabilities != "none":
        block += share_block_bytes(grid, quantisation)
    # Holes are looked for per class, all in one pass.
    scanners = max(1, sum(step.kind == "fill_holes" for step in card.postprocess))
    lines = _lines_bytes(info, grid, quantisation, min(_rows(info), rows), resampling)
    lines += scanners * _scanner_bytes(info)
    statistics = 4 * BAND_BYTES + (0 if resampling is None else sampling_bytes(info))
    # Blocks that wait for their turn have not read anything yet, so more than the workers hold nothing.
    flying = min(workers, grid.block_count)
    calls = flying if engine in SEVERAL_CALLERS and processes is None else 1
    model = calls * model_bytes(grid, batch=batch, card=card, engine=engine, maps=maps)
    computing = flying * block + model + kept
    if processes:
        computing = processes * (base_bytes(engine, server=False) + block + model + kept)
    pixels = int(np.prod(info.shape, dtype=object))
    after = lines + statistics + REGION_BYTES * counted_regions(info.shape)
    after += dicom_bytes(info, card)
    reading = fetched_bytes(info) + _decoding_bytes(info)
    if probabilities != "none":
        after = max(after, statistics + BAND_OF_PROBABILITIES)
    memory = base_bytes(engine, server=server) + max(computing, after) + reading * max(1, processes or 1)
    mask = pixels * (2 if card.wide else 1)
    lattice = on_lattice_window(window, resampling)
    finished = mask + pixels if resampling is None else shares_bytes(grid, quantisation, lattice)
    work = finished + stored_bytes(grid, quantisation, lattice) + info.inflated
    work += mask if card.postprocess else 0  # its flat copy
    work += 0 if window else sum(dicom_disk(info, card))
    if probabilities != "none":
        kept_shares = 0 if resampling is not None else shares_bytes(grid, quantisation, window)
        # The flat file and the published one; that of a raster has overviews.
        each = pixels * len(card.classes) * PROBABILITY_BYTES[probabilities]
        work += kept_shares + (3 if info.kind == "raster" else 2) * each
    # The flat mask and the published one; those of a raster have overviews.
    return Budget(memory, work + (3 if info.kind == "raster" else 2) * mask, mask, block, model)


def fetched_bytes(info: ImageInfo) -> int:
    """What a process holds of an address's bytes: GDAL's cache of them, and ranges on their way."""
    if not info.source.remote:
        return 0
    from tasks.imagery.raster.remote import cached_bytes

    return cached_bytes() + FETCHING_BYTES


def counted_regions(shape: Index) -> int:
    """Regions that fit the plan's memory; a mask of specks may have more."""
    return min(max(math.prod(shape) // REGION_PIXELS, 1000), MOST_REGIONS)


def kept_bytes(info: ImageInfo, grid: TileGrid) -> int:
    """Decoded storage that blocks keep for their neighbours: at most what one row of blocks reads."""
    if info.kind != "raster":
        return 0
    cells = cells_of(replace(info, shape=grid.shape))
    axis = grid.block_axes[0]
    tall = max(_extents(axis, b)[0] for b in {0, min(1, axis.count - 1), axis.count - 1})
    rows = min(grid.shape[0], tall + 2 * cells.size[0])
    return min(shared_bytes(info), rows * grid.shape[1] * (value_bytes(info) + 1))


def _decoding_bytes(info: ImageInfo) -> int:
    """Chunks of a volume's array that are decoded at once; next to nothing of plain files."""
    if info.kind == "raster":
        return 0
    return min(DECODED_CHUNKS * math.prod(info.chunk), math.prod(info.shape)) * value_bytes(info)


def _scanner_bytes(info: ImageInfo) -> int:
    """The region scanner reserves labels for a whole slice of a volume, or a line of a raster."""
    across = math.prod(info.shape[-2:]) if len(info.shape) > 2 else info.shape[-1]
    return across * (RUN_BYTES + LABEL_BYTES + 16 * len(info.channels))


def _rows(info: ImageInfo) -> int:
    return info.shape[1 if info.axes[0] == "t" else 0]


def stored_bytes(
    grid: TileGrid, quantisation: Quantisation, window: tuple[Index, Index] | None = None
) -> int:
    """Border sums that blocks hand to the stitch, uncompressed; 0 unless borders are stored.

    Args:
        grid: Of the whole image.
        quantisation: The integers of the blend.
        window: First pixel and end of what is stitched; None for the image.
    """
    if grid.borders != "stored":
        return 0
    low, high = window or ((0,) * len(grid.axes), grid.shape)
    # Per axis, pixels that one block alone touches, and pixels that blocks touch, each block counted.
    alone, touched = 1, 1
    for blocks, first, end in zip(grid.block_axes, low, high, strict=True):
        spans = [blocks.span(b) for b in range(blocks.count)]
        before = [0, *(h for _, h in spans[:-1])]
        after = [*(a for a, _ in spans[1:]), blocks.axis.size]
        alone *= sum(
            max(0, min(h, n, end) - max(a, p, first))
            for (a, h), p, n in zip(spans, before, after, strict=True)
        )
        touched *= sum(max(0, min(h, end) - max(a, first)) for a, h in spans)
    return (touched - alone) * (plane_bytes(quantisation) + 1)


def free_disk(folder: Path) -> int:
    """Bytes that a run may write where ``folder`` lies or will lie.

    What an interrupted run left in it counts as free: it is part of what the run needs, so that a run
    which fitted is not refused when it is resumed.
    """
    left = sum(f.lstat().st_blocks * 512 for f in folder.rglob("*") if f.is_file()) if folder.is_dir() else 0
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free + left


def memory_limit() -> int:
    """Bytes that this process may use: of the machine, or of its control group if that is less."""
    limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        file = Path("/sys/fs/cgroup") / name
        if file.is_file() and (text := file.read_text().strip()).isdigit():
            limit = min(limit, int(text))
    return limit
