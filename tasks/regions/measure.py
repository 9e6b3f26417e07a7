"""Regions as tables with true units, and the summary whose terms add up to the footprint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from segmodels.bundles.card import Card
from tasks.codes import codes_of
from tasks.imagery.earth.geography import lonlat, lonlat_boxes
from tasks.imagery.protocol import ImageInfo
from tasks.imagery.volume.orientation import native_boxes, native_index, world
from tasks.regions.scanner import Regions


def size_units(info: ImageInfo) -> str:
    """``m2``, ``mm3``, or ``pixels`` where the grid has no reference."""
    if info.field == "medical":
        return "mm3"
    return "m2" if info.grid["crs"] else "pixels"


def region_table(regions: Regions, *, info: ImageInfo, card: Card) -> pa.Table:
    """One row a region, ordered by id.

    Sizes are in m² (``area_m2``) or mm³ and mL; pixel coordinates are 0-based centres, of
    the file's own voxels for a volume.
    """
    names = {c.code: c.name for c in card.classes}
    columns: dict[str, Any] = {
        "id": np.arange(1, regions.code.size + 1, dtype=np.int64),
        "class": pa.array([names[int(c)] for c in regions.code], pa.string()),
        "code": regions.code.astype(np.int32),
    }
    if info.axes[0] == "t":
        columns["frame"] = regions.frame.astype(np.int32)
    columns["pixels"] = regions.pixels
    columns |= _earth(regions, info) if info.field == "earth" else _medical(regions, info)
    for i, channel in enumerate(info.channels):
        columns[f"mean_{channel}"] = regions.means[:, i]
    columns["mean_confidence"] = regions.confidence
    columns["touches_border"] = regions.border
    return pa.table(columns)


def _earth(r: Regions, info: ImageInfo) -> dict[str, Any]:
    known = bool(info.grid["crs"])
    out: dict[str, Any] = {"area_m2": r.size} if known else {}
    if known:
        points = lonlat(info, r.centroid[:, 1:])
        out |= {"lon": points[:, 0], "lat": points[:, 1]}
    out |= {"centroid_y": r.centroid[:, 1], "centroid_x": r.centroid[:, 2]}
    for name, values in (("0", r.low), ("1", r.high)):
        out |= {f"bbox_y{name}": values[:, 1], f"bbox_x{name}": values[:, 2]}
    if known:
        boxes = lonlat_boxes(info, np.hstack([r.low[:, 1:], r.high[:, 1:]]))
        out |= {n: boxes[:, i] for i, n in enumerate(("west", "south", "east", "north"))}
    return out


def _medical(r: Regions, info: ImageInfo) -> dict[str, Any]:
    native = native_index(info, r.centroid)
    place = world(info, r.centroid)
    out: dict[str, Any] = {"volume_mm3": r.size, "volume_ml": r.size / 1000}
    out |= {f"world_{n}": place[:, i] for i, n in enumerate("xyz")}
    out |= {f"centroid_{n}": native[:, i] for i, n in enumerate("ijk")}
    low, high = native_boxes(info, r.low, r.high)
    for i, n in enumerate("ijk"):
        out |= {f"bbox_{n}0": low[:, i], f"bbox_{n}1": high[:, i]}
    return out


def summarise(regions: Regions, *, info: ImageInfo, card: Card, footprint: float) -> dict[str, Any]:
    """Pixels and true size of every class and of every reason for having none.

    Args:
        footprint: True size of the whole grid, measured apart from the classes.

    Returns:
        What ``summary.json`` holds; of a series also ``frames``, over which all pixels and sizes are summed.
    """
    codes = codes_of(card)
    counted = regions.code_pixels
    sizes = regions.code_sizes
    valid = float(sum(sizes[c.code] for c in card.classes))
    found = np.bincount(regions.code, minlength=1 << 16) if regions.code.size else np.zeros(1 << 16, int)
    terms = {
        name: {"pixels": int(counted[code]), "size": float(sizes[code])}
        for name, code in (
            ("nodata", codes.nodata),
            ("unobserved", codes.unobserved),
            ("failed", codes.failed),
        )
    }
    frames = info.shape[0] if info.axes[0] == "t" else 1
    return {
        "units": {"size": size_units(info)},
        **(_series(frames) if frames > 1 else {}),
        "classes": [
            {
                "code": c.code,
                "name": c.name,
                "colour": c.colour,
                "pixels": int(counted[c.code]),
                "size": float(sizes[c.code]),
                "share": float(sizes[c.code]) / valid if valid else 0.0,
                "regions": int(found[c.code]) if c.region else None,
            }
            for c in card.classes
        ],
        **terms,
        "footprint": {"pixels": int(np.prod(info.shape, dtype=object)), "size": footprint},
    }


def _series(frames: int) -> dict[str, Any]:
    return {
        "frames": frames,
        "notes": [
            f"Pixels and sizes are sums over all {frames} frames; divided by {frames} they are the mean of a frame."
        ],
    }
