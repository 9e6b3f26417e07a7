"""Making a plan, and refusing what cannot work before any model is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segmodels.bundles.card import Card
from segmodels.normalise import make_normaliser
from tasks.errors import InputError, UsageError
from tasks.imagery.globe import check_on_earth
from tasks.imagery.protocol import Image, ImageInfo
from tasks.planning.budget import block_pixel_bytes, budget, check_budget, choose_block
from tasks.planning.plan import Parameters, Plan
from tasks.planning.statistics import ChannelHistogram, image_statistics
from tasks.tiling.area import Area
from tasks.tiling.grid import Index, make_grid
from tasks.tiling.weights import choose_quantisation

#: A batch holds as many tiles as keep two cores busy, and no more.
BATCH_PIXELS = 1 << 18
BATCH_TILES = 8
#: Spacing that differs by more than this from the model's makes a run *suspect*.
SPACING_TOLERANCE = 0.2


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
    if not 0 <= asked < math.inf:
        raise UsageError(f"--overlap {asked:g} is not a size: give a fraction below 1, or pixels")
    pixels = [t * asked if asked < 1 else asked for t in tile]
    if any(p >= t for p, t in zip(pixels, tile, strict=True)):
        raise UsageError(f"--overlap {asked:g} is not less than the tile {'×'.join(map(str, tile))}")
    overlap = tuple(
        min(t - card.stride, math.ceil(p / card.stride) * card.stride)
        for p, t in zip(pixels, tile, strict=True)
    )
    return tile, overlap


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
    folder: Path | None = None,
    area: Area | None = None,
) -> Plan:
    """Plans a run: one streaming pass over the image, no model.

    Args:
        block: Pixels of a block per model axis, rounded to whole tiles; None chooses.
        workers: Blocks in flight, for the memory figure.
        folder: Where the run writes; given, memory and disk are checked before any pixel is read.
        area: What a preview computes; everything else is planned for the whole image.

    Raises:
        InputError: The image has no valid pixel, does not fit the model, or needs more memory
            or disk than there is.
        UsageError: Options that the model cannot take.
    """
    info = image.info
    model_ndim = check_match(info, card)
    check_on_earth(info)
    tile, overlap = tile_sizes(card, model_ndim, parameters)
    lead = len(info.axes) - model_ndim
    tile, overlap = (1,) * lead + tile, (0,) * lead + overlap
    grid = make_grid(info.shape, tile=tile, overlap=overlap, block=(1,) * len(tile), wraps=info.wraps)
    quantisation = choose_quantisation(grid, card.blend, classes=len(card.classes))
    pixel_bytes = block_pixel_bytes(info, quantisation)
    if block is None:
        chosen = choose_block(grid, pixel_bytes=pixel_bytes)
    else:
        chosen = tuple(max(1, block // a.step) if a.tile > 1 else 1 for a in grid.axes)
    grid = make_grid(info.shape, tile=tile, overlap=overlap, block=chosen, wraps=info.wraps)
    # Neither blocks nor workers may change it: it can change the last bits of a network's output.
    batch = max(1, min(BATCH_TILES, grid.tile_count, BATCH_PIXELS // math.prod(tile)))
    seen = info if area is None else replace(info, shape=area.shape)
    needs = budget(seen, grid, quantisation, batch=batch, card=card, workers=workers)
    if folder is not None:
        check_budget(needs, folder, path=info.path)
    statistics = image_statistics(image, thresholds=_thresholds(card))
    if not any(s.valid for s in statistics):
        raise InputError(f"{info.path} has no valid pixel (all nodata or NaN): nothing can be segmented")
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
        area=area,
        normaliser=make_normaliser(card, statistics),
        statistics=tuple(s.summary() for s in statistics),
        peak_memory_bytes=needs.memory,
        disk_bytes=needs.disk,
        notes=info.notes,
        suspicions=(*out_of_range(card, statistics), *other_spacing(card, info)),
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


def other_spacing(card: Card, info: ImageInfo) -> tuple[str, ...]:
    """A sentence if the volume's spacing is not what the model was made for."""
    if card.spacing is None or info.field != "medical":
        return ()
    have = [float(v) for v in info.grid["spacing"]][-len(card.spacing) :]
    if all(abs(h - w) <= SPACING_TOLERANCE * w for h, w in zip(have, card.spacing, strict=True)):
        return ()
    return (
        f"voxels are {_by(have)} mm (z, y, x) but model {card.name} was made for {_by(card.spacing)} mm: "
        f"resample the volume, or expect worse results",
    )


def _by(sizes: Sequence[float]) -> str:
    return " × ".join(f"{v:g}" for v in sizes)
