"""A window of an image as an image of its own, on exactly its part of the grid."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tasks.imagery.protocol import Image, ImageInfo, Pixels, Window
from tasks.imagery.volume import orientation


class CroppedImage:
    """Sees only a window; closing it closes the image.

    Args:
        image: The whole image.
        window: Where to look: one slice per axis, in bounds.
    """

    def __init__(self, image: Image, window: Window) -> None:
        self._image = image
        self._low = tuple(s.start for s in window)
        self._info = crop_info(image.info, window)

    @property
    def info(self) -> ImageInfo:
        """Of the window: shape and grid are the window's, the path is the whole file's."""
        return self._info

    def read(self, window: Window) -> Pixels:
        """Reads a window given in the crop's own coordinates; see ``Image``."""
        return self._image.read(
            tuple(slice(s.start + a, s.stop + a) for s, a in zip(window, self._low, strict=True))
        )

    def close(self) -> None:
        """See ``Image``."""
        self._image.close()


def crop_info(info: ImageInfo, window: Window) -> ImageInfo:
    """What is known of a window.

    ``grid`` gains ``offset``: the window's first pixel in the file, as ``[row, column]`` of
    a GeoTIFF or ``[i, j, k]`` of a NIfTI.
    """
    shape = tuple(s.stop - s.start for s in window)
    wraps = tuple(w and n == full for w, n, full in zip(info.wraps, shape, info.shape, strict=True))
    grid = _raster(info.grid, window) if info.kind == "raster" else _volume(info, window)
    return replace(info, shape=shape, wraps=wraps, grid=grid)


def _raster(grid: dict[str, Any], window: Window) -> dict[str, Any]:
    row, column = (s.start for s in window[-2:])
    a, b, c, d, e, f = grid["transform"]
    moved = (a, b, a * column + b * row + c, d, e, d * column + e * row + f)
    return {**grid, "transform": moved, "offset": [row, column]}


def _volume(info: ImageInfo, window: Window) -> dict[str, Any]:
    """The affine's origin moves to the first voxel kept; axes, steps and orientation stay."""
    native = orientation.native_box(info, window)
    offset = [s.start for s in native[:3]]
    affine = np.asarray(info.grid["affine"], float).copy()
    affine[:3, 3] += affine[:3, :3] @ offset
    declared = [int(n) for n in info.grid["native_shape"]]
    kept = [s.stop - s.start for s in native[:3]]
    shape = [kept[d] if d < 3 else n for d, n in enumerate(declared)]
    return {**info.grid, "affine": affine.tolist(), "native_shape": shape, "offset": offset}


def move_origin(header: Any, offset: list[int]) -> None:
    """Moves a NIfTI header's origin to voxel ``offset``: its sform and its qform, each by its own steps.

    A header that states neither gets the implied affine as its sform: without it, the place
    would follow from the shape, which is another now.
    """
    if int(header["qform_code"]) == 0 and int(header["sform_code"]) == 0:
        affine = np.asarray(header.get_best_affine(), float)
        affine[:3, 3] += affine[:3, :3] @ offset
        header.set_sform(affine, code="aligned")
        return
    if int(header["sform_code"]) > 0:
        sform = np.asarray(header.get_sform(), float)
        moved = sform[:3, 3] + sform[:3, :3] @ offset
        for row, value in zip(("srow_x", "srow_y", "srow_z"), moved, strict=True):
            header[row][3] = value
    if int(header["qform_code"]) > 0:
        qform = np.asarray(header.get_qform(), float)
        moved = qform[:3, 3] + qform[:3, :3] @ offset
        for name, value in zip(("qoffset_x", "qoffset_y", "qoffset_z"), moved, strict=True):
            header[name] = value
