"""The algebra between canonical ``z y x`` axes and a NIfTI file's own axes: permutations and flips, exact."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from tasks.imagery.protocol import ImageInfo, Window


def axis_map(affine: npt.ArrayLike) -> tuple[tuple[int, int], ...]:
    """For each canonical axis ``z, y, x``: the native axis that it is, and +1 or −1.

    Example:
        >>> axis_map(np.diag([-1.0, 1, 1, 1]))
        ((2, 1), (1, 1), (0, -1))
    """
    orientation = nib.orientations.io_orientation(np.asarray(affine, float))
    native = {int(out): (i, int(flip)) for i, (out, flip) in enumerate(orientation)}
    return native[2], native[1], native[0]


def to_native(window: Window, axes: tuple[tuple[int, int], ...], native_shape: tuple[int, ...]) -> Window:
    """A canonical ``z y x`` window as native ``i j k`` slices with step 1."""
    out: list[slice] = [slice(0, 0)] * 3
    for where, (axis, flip) in zip(window, axes, strict=True):
        n = native_shape[axis]
        out[axis] = where if flip > 0 else slice(n - where.stop, n - where.start)
    return tuple(out)


def canonical_view(native: npt.NDArray[Any], axes: tuple[tuple[int, int], ...]) -> npt.NDArray[Any]:
    """A native ``i j k …`` array seen as ``z y x …``; no copy."""
    view = native.transpose([axis for axis, _ in axes] + list(range(3, native.ndim)))
    return view[tuple(slice(None, None, flip) for _, flip in axes)]


def native_view(canonical: npt.NDArray[Any], axes: tuple[tuple[int, int], ...]) -> npt.NDArray[Any]:
    """The inverse of ``canonical_view``; no copy."""
    view = canonical[tuple(slice(None, None, flip) for _, flip in axes)]
    order = [axis for axis, _ in axes]
    return view.transpose([order.index(i) for i in range(3)] + list(range(3, view.ndim)))


def spatial(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The first three sizes of a NIfTI shape, missing ones as 1."""
    i, j, k = (*shape, 1, 1)[:3] if len(shape) > 1 else (shape[0], 1, 1)
    return int(i), int(j), int(k)


def native_index(info: ImageInfo, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Canonical index coordinates in the file's own voxel coordinates.

    Args:
        info: Of a NIfTI image.
        points: ``(n, 3)`` as ``z, y, x``; a whole number is a voxel's centre.

    Returns:
        ``(n, 3)`` float64 as ``i, j, k``.
    """
    p = np.asarray(points, float).reshape(-1, 3)
    shape = spatial(tuple(info.grid["native_shape"]))
    out = np.empty_like(p)
    for c, (axis, flip) in enumerate(axis_map(info.grid["affine"])):
        out[:, axis] = p[:, c] if flip > 0 else shape[axis] - 1 - p[:, c]
    return out


def native_box(info: ImageInfo, window: Window) -> Window:
    """A canonical ``z y x`` window (a leading ``t`` is kept, last) as slices of the file's own axes."""
    shape = spatial(tuple(info.grid["native_shape"]))
    return to_native(window[-3:], axis_map(info.grid["affine"]), shape) + tuple(window[:-3])


def native_boxes(
    info: ImageInfo, low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Many half-open boxes at once, as :func:`native_box` turns one.

    Args:
        info: Of a NIfTI image.
        low: ``(n, 3)`` as ``z, y, x``.
        high: As ``low``.

    Returns:
        Their low and high ends ``(n, 3)`` as ``i, j, k``.
    """
    shape = spatial(tuple(info.grid["native_shape"]))
    first, last = np.empty_like(low), np.empty_like(high)
    for c, (axis, flip) in enumerate(axis_map(info.grid["affine"])):
        n = shape[axis]
        first[:, axis], last[:, axis] = (
            (low[:, c], high[:, c]) if flip > 0 else (n - high[:, c], n - low[:, c])
        )
    return first, last


def world(info: ImageInfo, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Canonical index coordinates ``(n, 3)`` ``z, y, x`` as world ``x, y, z`` in mm (RAS+)."""
    affine = np.asarray(info.grid["affine"], float)
    native = native_index(info, points)
    return (native @ affine[:3, :3].T + affine[:3, 3]) * float(info.grid["unit_mm"])
