"""What an open image becomes for its model: physical values, and clouds hidden."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tasks.errors import InputError
from tasks.imagery.protocol import Image
from tasks.imagery.source import Source
from tasks.imagery.validity.asked import Mask, masks_of
from tasks.imagery.views.units import in_units
from tasks.imagery.wanted import Reading, Wanted


def as_seen(image: Image, source: Source, *, scratch: Path, wanted: Wanted) -> Image:
    """The image in the card's units, unobserved where its masks say so; closed if that cannot be.

    Raises:
        InputError: A validity mask is missing or lies elsewhere.
        tasks.errors.UsageError: A rule is none.
    """
    from tasks.imagery.views.observed import ObservedImage

    opened: list[Image] = []
    try:
        if image.info.kind != "raster" and wanted.reading.bands:
            raise InputError(f"{source} is a volume, and --bands is for rasters: leave it out")
        if image.info.kind == "raster" and wanted.reading.frame is not None:
            raise InputError(f"{source} is a raster, and --frame is for volumes: leave it out")
        _check_named(source, wanted)
        masks = masks_of(source, wanted.reading.valid, wanted.validity)
        scaled = in_units(image, wanted)
        if not masks:
            return scaled
        if image.info.kind != "raster":
            raise InputError(f"{source} is a volume, and --valid is for rasters: leave it out")
        for mask in masks:
            opened.append(_open(mask, source, scratch=scratch))
        return ObservedImage(scaled, [(o, m.rule) for o, m in zip(opened, masks, strict=True)])
    except BaseException:
        for other in (image, *opened):
            other.close()
        raise


def _check_named(source: Source, wanted: Wanted) -> None:
    """Refuses one file under a channel's name that the model does not have; of several, their opener does."""
    named = source.parts[0].channel if len(source.parts) == 1 else None
    names = [c.name for c in wanted.channels]
    if named is not None and names and named.casefold() not in [n.casefold() for n in names]:
        raise InputError(
            f"{source} is named as channel {named}, which the model does not have: its channels are "
            f"{', '.join(names)}; leave the name out, or use one of these"
        )


def _open(mask: Mask, source: Source, *, scratch: Path) -> Image:
    from tasks.imagery.open import open_image

    bands = () if mask.band is None else (mask.band,)
    return open_image(
        source if mask.uri is None else mask.uri,
        scratch=scratch,
        wanted=replace(Wanted(), reading=Reading(bands=bands, units="stored")),
    )
