"""The layout of a run: tiles, blocks, borders, workers and lines that fit what the run may use.

Only ``tile``, ``overlap`` and ``blend`` change the mask, and only the user changes those. Blocks,
borders, blocks in flight and lines of the stitch are chosen here by price; the mask does not
depend on them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from segmodels.bundles.card import Card
from tasks.imagery.protocol import ImageInfo
from tasks.planning.budget import (
    BLOCK_BYTES,
    BLOCK_TILES,
    LINES_BYTES,
    Budget,
    block_pixel_bytes,
    budget,
    choose_block,
    kept_bytes,
    stitch_rows,
    stored_bytes,
)
from tasks.planning.outputs import Probabilities
from tasks.planning.plan import Parameters
from tasks.planning.tiles import Tiles, choose_tiles
from tasks.resampling.grid import sampled_info
from tasks.resampling.lattice import Resampling
from tasks.tiling.grid import Borders, Index, TileGrid, make_grid
from tasks.tiling.weights import Blend, Quantisation, choose_quantisation

#: A batch holds as many tiles as keep two cores busy, and no more.
BATCH_PIXELS = 1 << 18
BATCH_TILES = 8
#: Up to so many sums a pixel, handing them over is always cheaper than forward passes.
FEW_PLANES = 8
#: Blocks that repeat their neighbours' tiles are made larger, up to this many tiles.
LARGE_BLOCK_TILES = 1024
#: Prices of a pixel's forward pass (2-D, 3-D; small U-Nets on two cores), of a byte of border sums
#: (compressed, written, read, added) and of a block, in seconds; only their ratios matter.
FORWARD_SECONDS = (0.25e-6, 1.5e-6)
BORDER_SECONDS = 5e-9
BLOCK_SECONDS = 0.05
#: What a block in flight saves by reading and writing while another one has the engine.
OVERLAPPED = 1.15


@dataclass(frozen=True)
class Wish:
    """What a user asks of a layout.

    Attributes:
        parameters: What changes the mask.
        block: Pixels of a block per model axis, or None to choose.
        workers: Blocks in flight; with ``memory`` the most of them.
        memory: Bytes that the process tree may use, or None for the machine's.
        engine: Name of what will run the model.
        server: Whether Prefect runs beside it.
        window: First pixel and end of a preview; None for the image.
        processes: Workers of a cluster on this machine, each with its own model; 0: all are elsewhere; None: no
            cluster, this process computes.
        keep: Tiles and blocks that an unfinished run began with; others would make its files useless.
        maps: float32 maps of a tile that a classical method holds.
        resampling: The lattice on which the model sees the image; None for the image's own pixels.
        probabilities: Type of those that are left beside the mask.
    """

    parameters: Parameters
    block: int | None = None
    workers: int = 2
    memory: int | None = None
    engine: str = "tensorflow"
    server: bool = True
    window: tuple[Index, Index] | None = None
    processes: int | None = None
    keep: TileGrid | None = None
    maps: int = 0
    resampling: Resampling | None = None
    probabilities: Probabilities = "none"


@dataclass(frozen=True)
class Limits:
    """What there is: bytes of memory, and of disk where the run writes (None: not looked at)."""

    memory: int
    disk: int | None = None


@dataclass(frozen=True)
class Layout:
    """A run's geometry with its price.

    Attributes:
        grid: Tiles and blocks over the image's axes.
        tiles: Tile and overlap over the model's axes.
        blend: How overlapping tiles are weighed.
        quantisation: The integers of the blend.
        batch: Tiles of one forward pass; depends on the tile alone.
        workers: Blocks in flight.
        rows: Lines that stitch and regions hold.
        needs: Bounds of memory and disk.
        notes: What was considered, refused or capped, and why.
        kept: Bytes of decoded storage that blocks keep for one another.
    """

    grid: TileGrid
    tiles: Tiles
    blend: Blend
    quantisation: Quantisation
    batch: int
    workers: int
    rows: int
    needs: Budget
    notes: tuple[str, ...] = ()
    kept: int = 0

    def fits(self, limits: Limits) -> bool:
        """Whether memory and disk are enough."""
        return self.needs.memory <= limits.memory and (limits.disk is None or self.needs.disk <= limits.disk)

    @property
    def seconds(self) -> float:
        """A price to compare layouts of one run by; no forecast."""
        pixels = self.grid.computed_count * math.prod(self.grid.tile)
        forward = pixels * FORWARD_SECONDS[len(self.tiles.tile) == 3]
        borders = stored_bytes(self.grid, self.quantisation) * BORDER_SECONDS
        alone = 1.0 if self.workers > 1 else OVERLAPPED
        return alone * forward + borders + self.grid.block_count * BLOCK_SECONDS


def default_layout(info: ImageInfo, card: Card, wish: Wish, *, model_ndim: int) -> Layout:
    """The layout where neither memory nor disk is short.

    Raises:
        UsageError: Sizes that the network cannot take.
    """
    return next(_layouts(info, card, wish, model_ndim=model_ndim))


def best_layout(info: ImageInfo, card: Card, wish: Wish, *, model_ndim: int, limits: Limits) -> Layout | None:
    """The cheapest layout that fits, None if none does.

    Raises:
        UsageError: Sizes that the network cannot take.
    """
    first = default_layout(info, card, replace(wish, keep=None), model_ndim=model_ndim)
    if wish.keep is None and first.fits(limits) and first.quantisation.planes <= FEW_PLANES:
        return first
    fitting = [x for x in _layouts(info, card, wish, model_ndim=model_ndim) if x.fits(limits)]
    if not fitting:
        return None
    # Unasked, no run takes the whole machine for the sake of larger blocks.
    most = limits.memory if wish.memory is not None else limits.memory // 2
    modest = [x for x in fitting if x.needs.memory <= most]
    best = min(modest or fitting, key=lambda x: x.seconds)
    return replace(best, notes=(*best.notes, *_why(first, best, limits)))


def least_memory(info: ImageInfo, card: Card, wish: Wish, *, model_ndim: int, disk: int | None) -> int | None:
    """Bytes of the layout that needs least memory on that disk, None if none fits the disk."""
    free = replace(wish, memory=wish.memory or 1)
    every = _layouts(info, card, free, model_ndim=model_ndim)
    return min((x.needs.memory for x in every if disk is None or x.needs.disk <= disk), default=None)


def _layouts(info: ImageInfo, card: Card, wish: Wish, *, model_ndim: int) -> Iterator[Layout]:
    """Every layout worth pricing, the usual one first."""
    # Tiles and blocks lie on what the model sees, results on the image.
    asked = info
    info = info if wish.resampling is None else sampled_info(info, wish.resampling)
    tiles = choose_tiles(card, model_ndim, wish.parameters)
    blend: Blend = wish.parameters.blend or card.blend
    lead = len(info.axes) - model_ndim
    tile, overlap = (1,) * lead + tiles.tile, (0,) * lead + tiles.overlap

    def grid_of(block: Index, borders: Borders) -> TileGrid:
        return make_grid(
            info.shape, tile=tile, overlap=overlap, block=block, wraps=info.wraps, borders=borders
        )

    if wish.window is not None:
        asked = replace(asked, shape=tuple(h - a for a, h in zip(*wish.window, strict=True)))
    single = grid_of((1,) * len(tile), "stored")
    quantisation = choose_quantisation(single, blend, classes=len(card.classes))
    # Neither blocks nor workers may change it: it can change the last bits of a network's output.
    batch = max(1, min(BATCH_TILES, single.tile_count, BATCH_PIXELS // math.prod(tile)))
    choices: tuple[Borders, ...] = ("none",) if blend == "crop" else ("stored", "recomputed")
    # Fewer blocks in flight only where the user named a limit instead of a number.
    workers = range(wish.workers, 0, -1) if wish.memory is not None else (wish.workers,)
    for borders in choices:
        seen: set[Index] = set()
        for block in _blocks(info, single, quantisation, wish.block, borders, wish.keep):
            if block in seen:
                continue
            seen.add(block)
            grid = grid_of(block, borders)
            if wish.keep not in (None, grid):
                continue
            for count in workers:
                wanted = kept_bytes(info, grid)
                options = itertools.product(
                    (LINES_BYTES, LINES_BYTES >> 2, LINES_BYTES >> 4, LINES_BYTES >> 6),
                    (wanted, 0) if wanted else (0,),
                )
                for lines, kept in options:
                    rows = stitch_rows(asked, grid, quantisation, limit=lines, resampling=wish.resampling)
                    needs = budget(
                        asked,
                        grid,
                        quantisation,
                        batch=batch,
                        card=card,
                        workers=count,
                        rows=rows,
                        engine=wish.engine,
                        server=wish.server,
                        kept=kept,
                        processes=wish.processes,
                        window=wish.window,
                        maps=wish.maps,
                        resampling=wish.resampling,
                        probabilities=wish.probabilities,
                    )
                    yield Layout(
                        grid, tiles, blend, quantisation, batch, count, rows, needs, tiles.notes, kept=kept
                    )


def _blocks(
    info: ImageInfo,
    single: TileGrid,
    quantisation: Quantisation,
    asked: int | None,
    borders: Borders,
    keep: TileGrid | None,
) -> Iterator[Index]:
    """Blocks in tiles per axis: the usual size, smaller ones, then larger ones where that saves passes."""
    if asked is not None:
        yield tuple(max(1, asked // a.step) if a.tile > 1 else 1 for a in single.axes)
        return
    if keep is not None:
        yield keep.block
        return
    pixel_bytes = block_pixel_bytes(info, quantisation)
    for down in range(8):
        yield choose_block(single, pixel_bytes=pixel_bytes, limit=BLOCK_BYTES >> down)
    yield (1,) * len(single.axes)
    most = LARGE_BLOCK_TILES if borders != "none" and quantisation.planes > FEW_PLANES else BLOCK_TILES
    for up in range(1, 8):
        yield choose_block(single, pixel_bytes=pixel_bytes, limit=BLOCK_BYTES << up, most=most)


def _why(usual: Layout, best: Layout, limits: Limits) -> tuple[str, ...]:
    """What was given up for the sake of a limit, in sentences."""
    notes = []
    if best.grid.borders == "recomputed":
        stored = stored_bytes(usual.grid, usual.quantisation)
        times = best.grid.computed_count / best.grid.tile_count
        passes = grouped_passes(usual, limits)
        notes.append(
            f"border sums of {usual.quantisation.planes} classes would take {stored / 1e9:.1f} GB of disk, so "
            f"blocks compute the tiles at their borders again: {times:.2f} times the forward passes (classes in "
            f"groups would take {passes} times; --blend crop needs neither, and other pixels at seams)"
        )
    if best.workers < usual.workers:
        notes.append(
            f"{best.workers} block{'s' * (best.workers != 1)} at a time instead of {usual.workers}, to stay within "
            "the memory"
        )
    return tuple(notes)


def grouped_passes(usual: Layout, limits: Limits) -> int:
    """Forward passes over the image if classes were done in groups whose border sums fit the disk."""
    stored = stored_bytes(usual.grid, usual.quantisation)
    rest = usual.needs.disk - stored
    room = math.inf if limits.disk is None else max(1, limits.disk - rest)
    return max(1, math.ceil(min(usual.quantisation.planes, stored / room)))
