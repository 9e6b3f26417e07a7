"""Pixels at another spacing: one lattice for the whole item, linear for images, nearest for truth.

Pixel ``j`` of the lattice has its centre at ``(j + ½) · step - ½`` source pixels from the item's
corner, in float64, whatever window it is in. Beyond the outermost centres the outermost values
repeat. There is no smoothing before a step of several pixels: every value is a mean of at most two
neighbours per axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tasks.imagery.protocol import Pixels, Window

Steps = tuple[float, ...]
#: Spacings come from headers in 32-bit floats: what is nearer than this to a tie is one.
_NOISE = 1e-6
#: An item this close to the wanted spacing is taken as it is.
TOLERANCE = 0.02


def steps_to(have: Sequence[float] | None, want: Sequence[float] | None, *, ndim: int) -> Steps:
    """Source pixels per lattice pixel and axis; 1 along axes that are taken as they are.

    Args:
        have: Spacing of the item; None where it says none.
        want: Of the lattice; None for no other, and of fewer axes for the last ones (a 2-D model's
            spacing says nothing of the axis across its slices).
        ndim: Axes of the item.
    """
    if have is None or want is None:
        return (1.0,) * ndim
    steps = [w / h for w, h in zip(want, have[ndim - len(want) :], strict=True)]
    near = [1.0 if abs(s - 1) <= TOLERANCE else s for s in steps]
    return (*(1.0,) * (ndim - len(want)), *near)


def lattice_shape(shape: Sequence[int], steps: Steps) -> tuple[int, ...]:
    """Lattice pixels whose centres lie inside an item; at least one."""
    return tuple(max(1, _first(n, s)) for n, s in zip(shape, steps, strict=True))


def lattice_box(box: Window, shape: Sequence[int], steps: Steps) -> Window:
    """Lattice pixels that are made from pixels inside a box alone; at least one per axis."""
    found = []
    for cut, size, all_, step in zip(box, shape, lattice_shape(shape, steps), steps, strict=True):
        if step == 1:
            found.append(slice(cut.start, cut.stop))
            continue
        start = 0 if cut.start == 0 else math.ceil((cut.start + 0.5) / step - 0.5 + _NOISE)
        stop = all_ if cut.stop == size else math.floor((cut.stop - 0.5) / step - 0.5 - _NOISE) + 1
        start = min(start, all_ - 1)
        found.append(slice(start, max(stop, start + 1)))
    return tuple(found)


def source_window(window: Window, shape: Sequence[int], steps: Steps) -> Window:
    """The source pixels that a window of the lattice needs, inside the item."""
    found = []
    for cut, size, step in zip(window, shape, steps, strict=True):
        if step == 1:
            found.append(cut)
            continue
        at = centres(cut, size, step)
        found.append(slice(math.floor(at[0]), min(math.floor(at[-1]) + 2, size)))
    return tuple(found)


def linear(
    values: npt.NDArray[np.floating],
    window: Window,
    shape: Sequence[int],
    steps: Steps,
    source: Window,
) -> npt.NDArray[np.floating]:
    """Lattice pixels ``window``, axis by axis.

    Args:
        values: ``(*source)`` or ``(*source, channels)``.
        window: Of the lattice.
        shape: Of the item.
        steps: Source pixels per lattice pixel and axis.
        source: Where ``values`` lie in the item: :func:`source_window`, or more.
    """
    for axis, (cut, size, step, have) in enumerate(zip(window, shape, steps, source, strict=True)):
        if step == 1:
            values = values[(slice(None),) * axis + (_inside(cut, have),)]
            continue
        at = centres(cut, size, step) - have.start
        below = np.floor(at).astype(int)
        above = np.minimum(below + 1, values.shape[axis] - 1)
        share = (at - below).astype(values.dtype)
        share = share.reshape([-1 if a == axis else 1 for a in range(values.ndim)])
        low = np.take(values, below, axis)
        values = low + (np.take(values, above, axis) - low) * share
    return values


def nearest(
    values: npt.NDArray[np.generic], window: Window, shape: Sequence[int], steps: Steps, source: Window
) -> npt.NDArray[np.generic]:
    """As :func:`linear`, but the value of the nearest pixel; of two as near, the later."""
    for axis, (cut, size, step, have) in enumerate(zip(window, shape, steps, source, strict=True)):
        if step == 1:
            values = values[(slice(None),) * axis + (_inside(cut, have),)]
        else:
            at = centres(cut, size, step) - have.start
            values = np.take(values, np.floor(at + 0.5 + _NOISE).astype(int), axis)
    return values


def resample(
    pixels: Pixels,
    window: Window,
    shape: Sequence[int],
    steps: Steps,
    source: Window,
    *,
    dtype: type[np.floating],
) -> Pixels:
    """An image on the lattice: of the valid pixels alone; valid where the nearest pixel is.

    Args:
        pixels: Of the window ``source`` of the item.
        window: Of the lattice.
        shape: Of the item.
        steps: Source pixels per lattice pixel and axis.
        source: Where the pixels lie.
        dtype: In which is computed, and of what comes out.
    """
    values = pixels.values.astype(dtype)
    unobserved = None
    if pixels.unobserved is not None:
        unobserved = nearest(pixels.unobserved, window, shape, steps, source).astype(bool)
    if pixels.valid.all():
        out = linear(values, window, shape, steps, source)
        return Pixels(out, np.ones(out.shape[:-1], bool))
    # what was never measured has no part in the mean
    values[~pixels.valid] = 0
    total = linear(values, window, shape, steps, source)
    share = linear(pixels.valid.astype(dtype), window, shape, steps, source)
    valid = nearest(pixels.valid, window, shape, steps, source).astype(bool)
    out = np.where(valid[..., None], total / np.where(valid, share, 1)[..., None], 0)
    return Pixels(out.astype(dtype, copy=False), valid, unobserved)


def _first(size: int, step: float) -> int:
    """The first lattice pixel whose centre lies beyond ``size`` source pixels."""
    return size if step == 1 else math.ceil(size / step - 0.5 - _NOISE)


def centres(cut: slice, size: int, step: float) -> npt.NDArray[np.float64]:
    """Where the centres of lattice pixels lie along an axis, in pixels of the item; inside its outermost centres."""
    return np.clip((np.arange(cut.start, cut.stop) + 0.5) * step - 0.5, 0, size - 1)


def _inside(cut: slice, have: slice) -> slice:
    return slice(cut.start - have.start, cut.stop - have.start)
