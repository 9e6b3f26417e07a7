"""Which bands of one raster are channels, where its user or the model's card says."""

from __future__ import annotations

from typing import Any

from tasks.imagery.bands import raster_bands
from tasks.imagery.scene.choice import choose
from tasks.imagery.wanted import Wanted


def picked(
    dataset: Any, channels: tuple[int, ...], alphas: tuple[int, ...], wanted: Wanted, *, label: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The bands that are channels, in the model's order, and those that mark valid pixels.

    Bands that a user names are channels, whatever GDAL takes them for.

    Args:
        dataset: Open (rasterio's).
        channels: Its bands that are no alpha, from 1.
        alphas: Those that are.
        wanted: What the model and its user want.
        label: The image, for sentences.

    Raises:
        InputError: A band is not there, or is not what a channel wants.
    """
    among = tuple(range(1, dataset.count + 1)) if wanted.reading.bands else channels
    names = tuple(" ".join((dataset.descriptions[b - 1] or "").split()) or f"band{b}" for b in among)
    chosen = choose(raster_bands(dataset, among, names, label), wanted, label=label)
    if chosen is None:
        return channels, alphas
    found = tuple(among[i] for i in chosen)
    return found, tuple(a for a in alphas if a not in found)
