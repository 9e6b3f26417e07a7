"""Making a plan, and refusing what cannot work before any model is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from segmodels.bundles.card import Card
from segmodels.methods.base import BaseMethod
from segmodels.normalise import make_normaliser
from tasks.errors import InputError
from tasks.evaluation.grids import spacing_of
from tasks.imagery.earth.globe import check_on_earth
from tasks.imagery.protocol import Image, ImageInfo
from tasks.planning.causes import probable_cause
from tasks.planning.fitting import fit, limits_of
from tasks.planning.layout import Wish
from tasks.planning.outputs import Probabilities
from tasks.planning.plan import Parameters, Plan
from tasks.planning.statistics import ChannelHistogram, image_statistics
from tasks.planning.tiles import blind_tiles
from tasks.planning.whole import Sampler, check_whole, fit_method, fit_whole
from tasks.postprocess.decide import check_units
from tasks.resampling.choose import resampling_of, too_coarse
from tasks.resampling.image import resampled
from tasks.tiling.area import Area
from tasks.tiling.grid import TileGrid

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
        remedy = (
            "give an image with these channels, or another --model"
            if info.kind == "volume"
            else f"choose {want} with --bands (a band may be named twice), or give another --model"
        )
        raise InputError(
            f"{info.source} has {have} channel{'s' * (have != 1)} and model {card.name} wants {want} ({names}): "
            f"{remedy}"
        )
    spatial = sum(a != "t" for a in info.axes)
    fitting = [n for n in card.ndims if n <= spatial]
    if not fitting:
        raise InputError(
            f"{info.source} has {spatial} spatial axes and model {card.name} wants {min(card.ndims)}: "
            f"give a volume, or a 2-D model"
        )
    return max(fitting)


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
    memory: int | None = None,
    engine: str = "tensorflow",
    server: bool = True,
    processes: int | None = None,
    folder: Path | None = None,
    area: Area | None = None,
    keep: TileGrid | None = None,
    method: BaseMethod | None = None,
    probabilities: Probabilities = "none",
) -> Plan:
    """Plans a run: one streaming pass over the image, no model.

    Args:
        block: Pixels of a block per model axis, rounded to whole tiles; None chooses.
        workers: Blocks in flight; with ``memory`` the most of them.
        memory: Bytes that the process tree may use; None for the machine's.
        engine: Name of what will run the model, for the memory figure.
        server: Whether Prefect runs beside it, for the memory figure.
        processes: Workers of a cluster on this machine; 0: all are elsewhere; None: this process computes.
        folder: Where the run keeps its files, there or not; given, memory and disk are checked before any
            pixel is read.
        area: What a preview computes; everything else is planned for the whole image.
        keep: Tiles and blocks that an unfinished run began with; taken again if they fit, else a note says so.
        method: The bundle's method, if it holds one.
        probabilities: Type of those that are left beside the mask.

    Raises:
        InputError: The image has no valid pixel, does not fit the model, or needs more memory
            or disk than there is (:class:`tasks.planning.fitting.FitError` names the setting).
        UsageError: Options that the model cannot take.
    """
    info = image.info
    model_ndim = check_match(info, card)
    check_on_earth(info)
    check_units(card, info)
    check_whole(card, method, parameters)
    window = None if area is None else (area.low, area.high)
    maps = 0 if method is None else method.maps
    resampling = resampling_of(info, card, spacing=parameters.spacing)
    wish = Wish(
        parameters,
        block,
        workers,
        memory,
        engine,
        server,
        window,
        processes,
        keep,
        maps,
        resampling,
        probabilities,
    )
    limits = limits_of(wish, folder)
    if method is not None and method.reach == "image":
        layout = fit_whole(info, card, wish, model_ndim=model_ndim, limits=limits)
    else:
        layout = fit(info, card, wish, model_ndim=model_ndim, limits=limits)
    # Of what the model sees, as in its training.
    seen = resampled(image, resampling)
    sampler = Sampler(seen.info) if method is not None and method.needs_sample else None
    statistics = image_statistics(seen, thresholds=_thresholds(card), sampler=sampler)
    if not any(s.valid for s in statistics):
        raise InputError(
            f"{info.source} has no valid pixel (all nodata, NaN or unobserved): nothing can be segmented"
        )
    normaliser = make_normaliser(card, statistics)
    return Plan(
        item=item,
        image=info.source,
        image_digest=image_digest,
        bundle=bundle,
        bundle_digest=bundle_digest,
        card=card,
        parameters=parameters,
        grid=layout.grid,
        resampling=resampling,
        model_ndim=model_ndim,
        padding=card.padding,
        blend=layout.blend,
        quantisation=layout.quantisation,
        batch=layout.batch,
        area=area,
        probabilities=probabilities,
        normaliser=normaliser,
        fitted=fit_method(method, statistics, sampler, normaliser),
        statistics=tuple(s.summary() for s in statistics),
        overlap_from=layout.tiles.source,
        workers=layout.workers,
        callers=layout.workers if processes is None else 1,
        stitch_rows=layout.rows,
        kept_bytes=layout.kept,
        peak_memory_bytes=layout.needs.memory,
        model_bytes=layout.needs.model,
        disk_bytes=layout.needs.disk,
        result_bytes=layout.needs.result,
        notes=(
            *info.notes,
            *([] if resampling is None else [resampling.say()]),
            *layout.notes,
            *(f"model {card.name}: {text}" for text in card.to_check),
            *_preview_notes(card, area),
        ),
        suspicions=(
            *info.suspicions,
            *out_of_range(card, statistics),
            *(
                other_spacing(card, info, resample=card.spacing is None or parameters.spacing != "native")
                if resampling is None
                else too_coarse(resampling, card)
            ),
            *blind_tiles(card, layout.tiles.tile),
        ),
    )


def _preview_notes(card: Card, area: Area | None) -> tuple[str, ...]:
    if area is None or not card.postprocess:
        return ()
    return (
        f"the post-processing of model {card.name} saw this part alone: regions and holes that it cuts may "
        "come out otherwise in the whole image",
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
                f"expects {least:g} to {most:g} for {channel.name}: {probable_cause(channel, low, high)}"
            )
    return tuple(reasons)


def other_spacing(card: Card, info: ImageInfo, *, resample: bool = True) -> tuple[str, ...]:
    """A sentence if the image's spacing is known and not what the model was made for.

    Args:
        card: Of the model.
        info: Of the image.
        resample: Whether nothing but another image helps; else ``--spacing native`` was asked for.
    """
    if card.spacing is None:
        return ()
    if info.field == "medical":
        have = tuple(float(v) for v in info.grid["spacing"])[-len(card.spacing) :]
        what, unit, axes = "voxels", "mm", "(z, y, x)"
    else:
        have, unit = spacing_of(info, axes=len(card.spacing))
        what, axes = "pixels", "(y, x)"
        if unit == "pixels":
            return ()
    want = card.spacing[-len(have) :]
    if all(abs(h - w) <= SPACING_TOLERANCE * w for h, w in zip(have, want, strict=True)):
        return ()
    image = "volume" if what == "voxels" else "raster"
    remedy = f"resample the {image}" if resample else "leave --spacing native out"
    return (
        f"{what} are {_by(have)} {unit} {axes} but model {card.name} was made for {_by(want)} {unit}: "
        f"{remedy}, or expect worse results",
    )


def _by(sizes: Sequence[float]) -> str:
    return " × ".join(f"{v:g}" for v in sizes)
