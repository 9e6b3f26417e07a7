"""An image named by its key: the door opens what the key stands for, and nothing behind it says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tasks.imagery.open import open_image
from tasks.imagery.protocol import Image, ImageInfo, Pixels, Window
from tasks.imagery.source import Source
from tasks.imagery.wanted import Wanted
from tasks.privacy.hiding import hidden, hiding
from tasks.privacy.keys import look_up


class PrivateImage:
    """Sees an image, and calls it by its key.

    Args:
        image: As opened.
        source: Its key.
        wanted: The model's channels, whose names stand for those of the file.
    """

    def __init__(self, image: Image, source: Source, wanted: Wanted) -> None:
        self._image, self._source = image, source
        info = image.info
        names = tuple(c.name for c in wanted.channels)
        if len(names) != len(info.channels):
            names = tuple(f"channel{n + 1}" for n in range(len(info.channels)))
        # Names of files beside it are the image's own, or worse; what they are is said by how they end.
        beside = [f"{source}{Path(n).suffix}" for n in info.grid.get("sidecars", ())]
        self._info = replace(
            info,
            source=source,
            grid={**info.grid, "sidecars": beside} if "sidecars" in info.grid else info.grid,
            channels=names,
            bands=tuple(
                replace(b, name=n, aliases=(), file=None) for b, n in zip(info.bands, names, strict=False)
            ),
            notes=tuple(hidden(n, source) for n in info.notes),
            suspicions=tuple(hidden(s, source) for s in info.suspicions),
        )

    @property
    def info(self) -> ImageInfo:
        """See ``Image``; no name and no text of the file is in it."""
        return self._info

    def read(self, window: Window) -> Pixels:
        """See ``Image``."""
        with hiding(self._source):
            return self._image.read(window)

    def close(self) -> None:
        """See ``Image``."""
        self._image.close()


def open_private(source: Source, *, scratch: Path, wanted: Wanted) -> PrivateImage:
    """Opens what a key stands for; see :func:`tasks.imagery.open.open_image`."""
    with hiding(source):
        image = open_image(source.revealed(), scratch=scratch, wanted=revealed_wanted(source, wanted))
        return PrivateImage(image, source, wanted)


def revealed_wanted(source: Source, wanted: Wanted) -> Wanted:
    """What is wanted, with the user's own word for the layer in place of its pseudonym."""
    if not source.private or wanted.reading.layer is None:
        return wanted
    layer = look_up(source.only.uri).layer
    return replace(wanted, reading=wanted.reading.model_copy(update={"layer": layer}))
