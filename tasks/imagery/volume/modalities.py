"""Several volumes of one patient on one grid, each a channel, as T1, T2 and FLAIR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tasks.errors import InputError
from tasks.imagery.protocol import Image, ImageInfo, Pixels, Window
from tasks.imagery.source import Part, Source
from tasks.imagery.wanted import Wanted

#: Voxels' places may differ by this part of a voxel: tools round affines to float32, each its own way.
TOLERANCE = 0.01


def open_modalities(source: Source, *, scratch: Path, wanted: Wanted) -> ModalitiesImage:
    """Opens several volumes as one; see ``tasks.imagery.formats.Format``.

    Parts that name a channel of the model come in the model's order, parts without names as they are given.

    Raises:
        InputError: One cannot be opened, they are not on one grid, or their names are not the model's channels.
        tasks.errors.OutputError: ``scratch`` cannot take inflated data.
    """
    from tasks.imagery.open import open_image

    parts = _ordered(source, wanted)
    alone = Wanted(count=1, reading=wanted.reading)
    images: list[Image] = []
    try:
        for part in parts:
            image = open_image(Source(parts=(Part(uri=part.uri),)), scratch=scratch, wanted=alone)
            images.append(image)
            if len(image.info.channels) > 1:
                raise InputError(
                    f"{part} has {len(image.info.channels)} channels and one is needed; split it."
                )
        info = _common(source, parts, [image.info for image in images], wanted)
    except BaseException:
        for image in images:
            image.close()
        raise
    return ModalitiesImage(info, images)


class ModalitiesImage:
    """Volumes on one grid as the channels of one image; closing it closes them.

    Args:
        info: Of all together.
        images: One per channel.
    """

    def __init__(self, info: ImageInfo, images: Sequence[Image]) -> None:
        self._info, self._images = info, tuple(images)

    @property
    def info(self) -> ImageInfo:
        """What is known without reading voxels."""
        return self._info

    def read(self, window: Window) -> Pixels:
        """Reads every channel; a voxel is valid where all are."""
        shape = [s.stop - s.start for s in window]
        values = np.empty((*shape, len(self._images)), np.dtype(self._info.dtype))
        valid = np.ones(shape, bool)
        for c, image in enumerate(self._images):
            pixels = image.read(window)
            values[..., c] = pixels.values[..., 0]
            valid &= pixels.valid
        return Pixels(values, valid)

    def close(self) -> None:
        """Closes every volume; reading afterwards is an error."""
        for image in self._images:
            image.close()


def _ordered(source: Source, wanted: Wanted) -> list[Part]:
    parts = list(source.parts)
    if parts[0].channel is None or not wanted.channels:
        return parts
    given = {str(p.channel).casefold(): p for p in parts}
    names = [c.name for c in wanted.channels]
    if len(given) < len(parts):
        raise InputError(f"{source} name one channel twice; name each of {', '.join(names)} once.")
    if set(given) != {n.casefold() for n in names}:
        raise InputError(
            f"{source} are given as {', '.join(str(p.channel) for p in parts)} and the model takes "
            f"{', '.join(names)}; name each of these once."
        )
    return [given[n.casefold()] for n in names]


def _common(source: Source, parts: Sequence[Part], infos: Sequence[ImageInfo], wanted: Wanted) -> ImageInfo:
    # The first that the user names gives the grid, and its header to the mask.
    leader = parts.index(source.parts[0])
    first = infos[leader]
    for part, info in zip(parts, infos, strict=True):
        differs = _difference(first, info)
        if differs:
            raise InputError(
                f"{part} is not on the grid of {parts[leader]} ({differs}); resample it onto that grid first."
            )
    dtype: Any = np.result_type(*(np.dtype(i.dtype) for i in infos))
    if len(wanted.channels) == len(parts):
        named = [c.name for c in wanted.channels]
    else:
        named = [p.channel or Source.of(p.uri).name for p in parts]
    names = tuple(n if named.index(n) == i else f"{n}_{i + 1}" for i, n in enumerate(named))
    notes = {note: None for i in infos for note in i.notes}
    return replace(
        first,
        source=source,
        format="modalities",
        channels=names,
        dtype=np.dtype(dtype).name,
        notes=tuple(notes),
        inflated=sum(i.inflated for i in infos),
    )


def _difference(a: ImageInfo, b: ImageInfo) -> str:
    """What differs between two grids, in words; empty if nothing does."""
    if a.kind != b.kind or a.axes != b.axes:
        return f"axes {' '.join(b.axes)} instead of {' '.join(a.axes)}"
    own, other = ([int(n) for n in i.grid["native_shape"]] for i in (a, b))
    if own != other or a.shape != b.shape:
        return f"{' × '.join(map(str, other))} voxels instead of {' × '.join(map(str, own))}"
    if a.grid["orientation"] != b.grid["orientation"]:
        return f"orientation {b.grid['orientation']} instead of {a.grid['orientation']}"
    first, second = (np.asarray(i.grid["affine"], float) * i.grid["unit_mm"] for i in (a, b))
    size = np.array((*own, 1, 1)[:3]) - 1
    corners = np.array(np.meshgrid(*((0, n) for n in size))).reshape(3, -1)
    shift = np.linalg.norm((first - second)[:3, :3] @ corners + (first - second)[:3, 3:], axis=0).max()
    if shift > TOLERANCE * np.sqrt((first[:3, :3] ** 2).sum(axis=0)).min():
        return f"voxels up to {shift:.3g} mm elsewhere"
    return ""
