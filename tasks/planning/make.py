"""Making a plan, and refusing what cannot work before any model is loaded."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from segmodels.bundles.card import Card
from segmodels.normalise import make_normaliser
from tasks.errors import InputError, UsageError
from tasks.imagery.protocol import Image, ImageInfo
from tasks.planning.plan import Parameters, Plan
from tasks.planning.statistics import BAND_BYTES, ChannelHistogram, image_statistics
from tasks.tiling.grid import Index, TileGrid, make_grid
from tasks.tiling.weights import Quantisation, choose_quantisation

#: What one block may hold at once, besides the model itself.
BLOCK_BYTES = 192 << 20
BLOCK_TILES = 16
#: A batch holds as many tiles as keep two cores busy, and no more.
BATCH_PIXELS = 1 << 18
BATCH_TILES = 8
#: Interpreter, libraries and a compiled small model, measured with every engine (PSS).
BASE_BYTES = 900 << 20


def check_match(info: ImageInfo, card: Card) -> int:
    """Whether a model fits an image.

    Returns:
        How many of the image's last axes the model sees.

    Raises:
        InputError: Channels or axes do not fit.
    """
    have, want = len(info.channels), len(card.channels)
    if have != want:
        names = ", ".join(c.name for c in card.channels)
        raise InputError(
            f"{info.path} has {have} channel{'s' * (have != 1)} and model {card.name} wants {want} ({names}): "
            f"give an image with these bands, or another --model"
        )
    spatial = sum(a != "t" for a in info.axes)
    fitting = [n for n in card.ndims if n <= spatial]
    if not fitting:
        raise InputError(
            f"{info.path} has {spatial} spatial axes and model {card.name} wants {min(card.ndims)}: "
            f"give a volume, or a 2-D model"
        )
    return max(fitting)


def tile_sizes(card: Card, model_ndim: int, parameters: Parameters) -> tuple[Index, Index]:
    """Tile and overlap in pixels over the model's axes, multiples of the network's stride.

    Raises:
        UsageError: Sizes that the network cannot take.
    """
    tile = parameters.tile or card.tile[-model_ndim:]
    if len(tile) == 1:
        tile = tile * model_ndim
    if len(tile) != model_ndim:
        raise UsageError(f"--tile needs one size, or {model_ndim} for model {card.name}")
    bad = [t for t in tile if t < 1 or t % card.stride]
    if bad:
        raise UsageError(
            f"--tile {bad[0]} does not fit model {card.name}: give a multiple of its stride {card.stride}"
        )
    asked = card.overlap if parameters.overlap is None else parameters.overlap
    if asked < 0:
        raise UsageError("--overlap must not be negative")
    pixels = [t * asked if asked < 1 else asked for t in tile]
    if any(p >= t for p, t in zip(pixels, tile, strict=True)):
        raise UsageError(f"--overlap {asked:g} is not less than the tile {'×'.join(map(str, tile))}")
    overlap = tuple(
        min(t - card.stride, math.ceil(p / card.stride) * card.stride)
        for p, t in zip(pixels, tile, strict=True)
    )
    return tile, overlap


def choose_block(grid: TileGrid, *, pixel_bytes: int) -> Index:
    """Tiles per block and axis: as many as fit the memory of one block, near a cube."""
    block = [1] * len(grid.axes)

    def cost(candidate: list[int]) -> int:
        spans = [min(a.size, a.tile + (n - 1) * a.step) for a, n in zip(grid.axes, candidate, strict=True)]
        return int(np.prod(spans, dtype=object)) * pixel_bytes

    while True:
        growable = [d for d, a in enumerate(grid.axes) if a.tile > 1 and block[d] < a.count]
        if not growable:
            break
        d = min(growable, key=lambda i: block[i] * grid.axes[i].tile)
        bigger = [n + (i == d) for i, n in enumerate(block)]
        if cost(bigger) > BLOCK_BYTES or math.prod(bigger) > BLOCK_TILES:
            break
        block = bigger
    return tuple(block)


def make_plan(
    image: Image,
    *,
    item: str,
    image_digest: str,
    bundle: Path,
    bundle_digest: str,
    card: Card,
    parameters: Parameters,
    block: int | None = None,
    workers: int = 2,
) -> Plan:
    """Plans a run: one streaming pass over the image, no model.

    Args:
        block: Pixels of a block per model axis, rounded to whole tiles; None chooses.
        workers: Blocks in flight, for the memory figure.

    Raises:
        InputError: The image has no valid pixel, or does not fit the model.
        UsageError: Options that the model cannot take.
    """
    info = image.info
    model_ndim = check_match(info, card)
    tile, overlap = tile_sizes(card, model_ndim, parameters)
    lead = len(info.axes) - model_ndim
    tile, overlap = (1,) * lead + tile, (0,) * lead + overlap
    statistics = image_statistics(image, thresholds=_thresholds(card))
    if not any(s.valid for s in statistics):
        raise InputError(f"{info.path} has no valid pixel (all nodata or NaN): nothing can be segmented")
    grid = make_grid(info.shape, tile=tile, overlap=overlap, block=(1,) * len(tile), wraps=info.wraps)
    quantisation = choose_quantisation(grid, card.blend, classes=len(card.classes))
    pixel_bytes = _block_pixel_bytes(info, quantisation)
    if block is None:
        chosen = choose_block(grid, pixel_bytes=pixel_bytes)
    else:
        chosen = tuple(max(1, block // a.step) if a.tile > 1 else 1 for a in grid.axes)
    grid = make_grid(info.shape, tile=tile, overlap=overlap, block=chosen, wraps=info.wraps)
    # Neither blocks nor workers may change it: it can change the last bits of a network's output.
    batch = max(1, min(BATCH_TILES, grid.tile_count, BATCH_PIXELS // math.prod(tile)))
    return Plan(
        item=item,
        image=info.path,
        image_digest=image_digest,
        bundle=bundle,
        bundle_digest=bundle_digest,
        card=card,
        parameters=parameters,
        grid=grid,
        model_ndim=model_ndim,
        padding=card.padding,
        blend=card.blend,
        quantisation=quantisation,
        batch=batch,
        normaliser=make_normaliser(card, statistics),
        statistics=tuple(s.summary() for s in statistics),
        peak_memory_bytes=_peak_memory(info, grid, quantisation, batch=batch, card=card, workers=workers),
        disk_bytes=_disk(info, grid, quantisation),
        notes=info.notes,
        suspicions=out_of_range(card, statistics),
    )


def _thresholds(card: Card) -> tuple[float, ...]:
    values = [getattr(n, "foreground_above", None) for n in card.normalise]
    return tuple(v for v in values if v is not None)


def out_of_range(card: Card, statistics: list[ChannelHistogram]) -> tuple[str, ...]:
    """A sentence for every channel whose values (1st to 99th percentile) leave the card's range."""
    reasons = []
    for channel, s in zip(card.channels, statistics, strict=True):
        low, high = s.percentile(1), s.percentile(99)
        least = -math.inf if channel.minimum is None else channel.minimum
        most = math.inf if channel.maximum is None else channel.maximum
        if low < least or high > most:
            reasons.append(
                f"channel {s.name} holds {low:g} to {high:g} (1st to 99th percentile) but model {card.name} "
                f"expects {least:g} to {most:g} for {channel.name}: check bands and units"
            )
    return tuple(reasons)


def _block_pixel_bytes(info: ImageInfo, quantisation: Quantisation) -> int:
    item = np.dtype(info.dtype).itemsize * len(info.channels)
    return 2 * item + quantisation.planes * np.dtype(quantisation.dtype).itemsize + 8


def _peak_memory(
    info: ImageInfo, grid: TileGrid, quantisation: Quantisation, *, batch: int, card: Card, workers: int
) -> int:
    spans = [min(a.size, a.tile + (n - 1) * a.step) for a, n in zip(grid.axes, grid.block, strict=True)]
    block = int(np.prod(spans, dtype=object)) * _block_pixel_bytes(info, quantisation)
    # A U-Net's first level holds a few dozen feature maps of the tile at once.
    model = batch * math.prod(grid.tile) * 4 * (len(card.channels) + card.logits + 64)
    cut = 1 if info.axes[0] == "t" else 0
    line = int(np.prod(info.shape[cut + 1 :], dtype=object))
    rows = max(1, min(info.shape[cut], stitch_rows(info)))
    planes = quantisation.planes * np.dtype(quantisation.dtype).itemsize
    stitch = line * rows * (4 + planes) + 4 * BAND_BYTES
    return BASE_BYTES + max(workers * block + 2 * model, stitch)


def _disk(info: ImageInfo, grid: TileGrid, quantisation: Quantisation) -> int:
    """Codes and confidence of every pixel, border sums of what blocks share, the mask and its copy."""
    pixels = int(np.prod(info.shape, dtype=object))
    alone, touched = 1.0, 1.0
    for b in grid.block_axes:
        overlap = b.axis.tile - b.axis.step
        alone *= max(0.0, 1 - (b.count - 1) * overlap / b.axis.size)
        touched *= 1 + (b.count - 1) * overlap / b.axis.size
    border = pixels * (touched - alone) * (quantisation.planes * np.dtype(quantisation.dtype).itemsize + 1)
    return int(4 * pixels + border)


def stitch_rows(info: ImageInfo) -> int:
    """Lines of the slowest spatial axis that the stitch holds at once."""
    if info.format == "geotiff":
        return 512
    cut = 1 if info.axes[0] == "t" else 0
    line = int(np.prod(info.shape[cut + 1 :], dtype=object))
    return max(1, BAND_BYTES // max(1, 4 * line))
