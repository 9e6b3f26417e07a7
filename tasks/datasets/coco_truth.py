"""COCO's polygons and run lengths as classes per pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.datasets.sources import Grid
from tasks.errors import InputError
from tasks.imagery.protocol import Window


class CocoTruth:
    """Shapes of one image; smaller ones lie over larger ones, as things lie on what is behind them.

    A pixel belongs to a polygon that holds its centre.

    Args:
        manifest: For error messages.
        shape: Rows and columns of the image.
        annotations: ``segmentation`` (polygons or RLE) and ``category_id`` each.
    """

    grid: Grid | None = None

    def __init__(
        self, manifest: Path, *, shape: tuple[int, ...], annotations: Sequence[Mapping[str, Any]]
    ) -> None:
        self._manifest, self.shape = manifest, shape
        order = sorted(range(len(annotations)), key=lambda i: (-self._area(annotations[i]), i))
        self._shapes = [self._shape(annotations[i]) for i in order]

    def raw(self, window: Window) -> npt.NDArray[np.int32]:
        from rasterio.features import rasterize
        from rasterio.transform import Affine

        rows, columns = window
        size = (rows.stop - rows.start, columns.stop - columns.start)
        out = np.zeros(size, np.int32)
        to_window = Affine.translation(columns.start, rows.start)
        for category, polygons, runs in self._shapes:
            if polygons:
                inside = rasterize(polygons, out_shape=size, transform=to_window, dtype="uint8") != 0
            else:
                inside = decode_runs(runs, (self.shape[0], self.shape[1]), columns)[rows]
            out[inside] = category
        return out

    def close(self) -> None:
        """Nothing stays open."""

    def _area(self, annotation: Mapping[str, Any]) -> float:
        return float(annotation.get("area") or 0.0)

    def _shape(self, annotation: Mapping[str, Any]) -> tuple[int, list[Any], npt.NDArray[np.int64]]:
        category, shape = int(annotation["category_id"]), annotation.get("segmentation")
        if isinstance(shape, list):
            if any(len(ring) < 6 or len(ring) % 2 for ring in shape):
                raise InputError(
                    f"{self._manifest}: annotation {annotation.get('id')} has a polygon of fewer than three points; "
                    "remove it."
                )
            rings = [np.asarray(ring, float).reshape(-1, 2).tolist() for ring in shape]
            polygons = [{"type": "Polygon", "coordinates": [[*ring, ring[0]]]} for ring in rings]
            return category, polygons, np.zeros(0, np.int64)
        if not isinstance(shape, dict) or "counts" not in shape:
            raise InputError(
                f"{self._manifest}: annotation {annotation.get('id')} has neither polygons nor run lengths; "
                "export it with segmentations."
            )
        if tuple(shape.get("size", ())) != tuple(self.shape):
            raise InputError(
                f"{self._manifest}: annotation {annotation.get('id')} is of size {shape.get('size')}, its image of "
                f"{list(self.shape)}; export both again."
            )
        counts = shape["counts"]
        runs = np.asarray(
            counts if isinstance(counts, list) else decode_counts(counts, self._manifest), np.int64
        )
        if (runs < 0).any() or runs.sum() != self.shape[0] * self.shape[1]:
            raise InputError(
                f"{self._manifest}: the run lengths of annotation {annotation.get('id')} do not add up to its image; "
                "export it again."
            )
        return category, [], runs


def decode_counts(text: str, manifest: Path) -> list[int]:
    """Run lengths from COCO's compressed text: base-32 digits, low first, differences from the third on.

    Raises:
        InputError: The text ends inside a number, or holds foreign characters.
    """
    counts: list[int] = []
    at = 0
    while at < len(text):
        value = shift = 0
        more = True
        while more:
            if at == len(text) or not 0 <= ord(text[at]) - 48 < 64:
                raise InputError(f"{manifest} holds damaged run lengths ({text[:20]!r}…); export it again.")
            digit = ord(text[at]) - 48
            value |= (digit & 0x1F) << shift
            more = bool(digit & 0x20)
            at, shift = at + 1, shift + 5
            if not more and digit & 0x10:
                value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts


def decode_runs(runs: npt.NDArray[np.int64], shape: tuple[int, int], columns: slice) -> npt.NDArray[np.bool_]:
    """Columns of a mask from run lengths (off, on, off, …) down its columns."""
    height = shape[0]
    first, last = columns.start * height, columns.stop * height
    ends = np.cumsum(runs)
    starts = np.clip(np.concatenate([[0], ends[:-1]])[1::2], first, last) - first
    stops = np.clip(ends[1::2], first, last) - first
    change = np.zeros(last - first + 1, np.int32)
    np.add.at(change, starts, 1)
    np.add.at(change, stops, -1)
    return (np.cumsum(change[:-1]) > 0).reshape(columns.stop - columns.start, height).T
