"""Polygons of small masks, and what another library makes of the same pixels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely

from tasks.vectors.shapes import shapes
from tasks.vectors.simplify import Simplifier
from tasks.vectors.tracer import Traced, Tracer
from tasks.vectors.wkb import to_wkb

PLAIN = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def trace(
    mask: npt.NDArray[Any],
    file: Path,
    *,
    full: bool = True,
    wraps: bool = False,
    noded: bool = False,
    cuts: Sequence[int] = (),
) -> Traced:
    """Traces every code but 0, in bands that end at ``cuts``."""
    codes = tuple(range(1, max(int(mask.max()), 1) + 1))
    tracer = Tracer(mask.shape[1], codes=codes, full=full, wraps=wraps, noded=noded, file=file)
    edges = [0, *sorted(set(cuts) - {0, len(mask)}), len(mask)]
    for low, high in pairwise(edges):
        tracer.feed(mask[low:high], last=high == len(mask))
    return tracer.finish()


def polygons(traced: Traced, *, simplifier: Simplifier | None = None) -> npt.NDArray[Any]:
    """A geometry a region, in columns and lines."""
    keep = np.ones(traced.code.size, bool)
    groups = shapes(traced, transform=PLAIN, keep=keep, simplifier=simplifier)
    found = [shapely.from_wkb(to_wkb(g).to_numpy(zero_copy_only=False)) for g in groups]
    return np.concatenate(found) if found else np.zeros(0, object)


def reference(mask: npt.NDArray[Any], *, full: bool) -> list[tuple[int, float]]:
    """Code and area of every region, by GDAL."""
    found = rasterio.features.shapes(mask, mask=mask > 0, connectivity=8 if full else 4)
    return sorted((int(code), shapely.geometry.shape(shape).area) for shape, code in found)
