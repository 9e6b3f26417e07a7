"""A DICOM series behind the image protocol: a slice is a chunk, read when a window meets it."""

from __future__ import annotations

import math
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from tasks.errors import InputError
from tasks.imagery.protocol import ImageInfo, Pixels, Window
from tasks.imagery.source import Source
from tasks.imagery.volume import orientation
from tasks.imagery.volume.dicom.headers import headers
from tasks.imagery.volume.dicom.pixels import PixelError, stored_values
from tasks.imagery.volume.dicom.series import Chosen, choose
from tasks.imagery.volume.dicom.slices import Frame
from tasks.imagery.volume.dicom.stack import Stack
from tasks.imagery.volume.flat import MAX_VOXELS
from tasks.imagery.wanted import Wanted

#: Padding is nothing measured where it is less than any matter could be, in Hounsfield units.
_LEAST_HU = -1024.0


def open_dicom(source: Source, *, scratch: object, wanted: Wanted) -> DicomImage:
    """Opens a DICOM folder or file; see ``tasks.imagery.formats.Format``.

    Raises:
        InputError: No series of it can be used, or several can.
    """
    return DicomImage(source, wanted)


def chosen_of(source: Source, wanted: Wanted) -> Chosen:
    """What of a folder is read.

    Raises:
        InputError: No series of it can be used, or several can.
    """
    try:
        found, rejects = headers(source.local)
    except ValueError as error:
        raise InputError(f"{source} holds {error}: give the folder of one study") from None
    return choose(str(source), found, rejects, wanted)


class DicomImage:
    """One series, or one per channel on one grid.

    Args:
        source: A folder, or a file.
        wanted: The model's rules, the user's ``layer`` and ``frame``.

    Raises:
        InputError: The sentence says why, and lists series without naming a patient.
    """

    def __init__(self, source: Source, wanted: Wanted) -> None:
        chosen = chosen_of(source, wanted)
        self._stacks = [_one_frame(source, s, wanted.reading.frame) for s in chosen.stacks]
        self._stored_units = wanted.reading.units == "stored"
        self._dtype = np.result_type(*(_dtype(s, self._stored_units) for s in self._stacks if s is not None))
        self._info = self._inspect(source, chosen, wanted)
        self._axes = orientation.axis_map(self._info.grid["affine"])

    @property
    def info(self) -> ImageInfo:
        """What is known without reading pixels."""
        return self._info

    @property
    def stack(self) -> Stack:
        """The first channel's slices."""
        return next(s for s in self._stacks if s is not None)

    def read(self, window: Window) -> Pixels:
        """Reads ``([t,] z, y, x)``: every slice that the window meets is decoded once.

        Raises:
            InputError: A slice is truncated, corrupt or gone.
        """
        native = orientation.spatial(tuple(self._info.grid["native_shape"]))
        i, j, k = orientation.to_native(window[-3:], self._axes, native)
        times = window[0] if "t" in self._info.axes else slice(0, 1)
        shape = [s.stop - s.start for s in (i, j, k, times)]
        out = np.zeros((*shape, len(self._stacks)), self._dtype)
        valid = np.ones(shape, bool)
        for c, stack in enumerate(self._stacks):
            if stack is None:
                continue
            for t in range(times.start, times.stop):
                for s in range(k.start, k.stop):
                    values, there = self._slice(stack.frames[t][s])
                    at = (slice(None), slice(None), s - k.start, t - times.start)
                    out[(*at, c)] = values[j, i].T
                    if there is not None:
                        valid[at] &= there[j, i].T
        if out.dtype.kind == "f":
            valid &= np.isfinite(out).all(axis=-1)
        seen = orientation.canonical_view(out, self._axes)
        known = orientation.canonical_view(valid, self._axes)
        if "t" in self._info.axes:
            seen, known = np.moveaxis(seen, 3, 0), np.moveaxis(known, 3, 0)
        else:
            seen, known = seen[..., 0, :], known[..., 0]
        return Pixels(np.ascontiguousarray(seen), np.ascontiguousarray(known))

    def close(self) -> None:
        """Nothing is held open."""

    def _slice(self, frame: Frame) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
        """Physical values ``(rows, columns)`` in the image's type, and where anything was measured."""
        try:
            raw = stored_values(frame.stored, frame.index)
        except PixelError as error:
            where = ", ".join(f"{p:g}" for p in frame.position)
            raise InputError(
                f"{self._info.source}: the slice at ({where}) mm is corrupt: {error}; fetch it again, or convert it with gdcmconv --raw"
            ) from None
        there = None
        if frame.padding is not None and frame.padding[1] * frame.slope + frame.intercept < _LEAST_HU:
            there = (raw < frame.padding[0]) | (raw > frame.padding[1])
        if self._stored_units or (frame.slope, frame.intercept) == (1.0, 0.0):
            return raw.astype(self._dtype, copy=False), there
        if self._dtype.kind == "f":
            return (raw * np.float64(frame.slope) + frame.intercept).astype(self._dtype), there
        return raw.astype(np.int64) * int(frame.slope) + int(frame.intercept), there

    def _inspect(self, source: Source, chosen: Chosen, wanted: Wanted) -> ImageInfo:
        first = self.stack
        stored = first.frames[0][0].stored
        native = (stored.columns, stored.rows, len(first.frames[0]))
        times = len(first.frames)
        if math.prod(native) * times * len(self._stacks) > MAX_VOXELS:
            raise InputError(f"{source} claims more than {MAX_VOXELS:.0e} voxels: give one series of it")
        axes = orientation.axis_map(first.affine)
        steps = np.linalg.norm(first.affine[:3, :3], axis=0)
        names: tuple[str, ...] = ("z", "y", "x")
        shape = tuple(native[axis] for axis, _ in axes)
        spacing = tuple(float(steps[axis]) for axis, _ in axes)
        chunk = tuple(1 if axis == 2 else native[axis] for axis, _ in axes)
        notes = list(chosen.notes)
        if times > 1:
            names, shape = ("t", *names), (times, *shape)
            spacing, chunk = (0.0, *spacing), (1, *chunk)
            notes.append(
                f"The series has {times} time points: mask.nii.gz has them all, and no mask.dcm is made."
            )
        if len(native) and native[2] == 1 and first.frames[0][0].thickness is None:
            notes.append("One slice without a thickness: 1 mm is assumed.")
        if first.tilt:
            notes.append(
                f"The slices lean by {first.tilt:.1f}° (a tilted gantry); the mask's affine leans with them."
            )
        channels = tuple(c.name for c in wanted.channels) if len(self._stacks) > 1 else ("intensity",)
        if len(channels) != len(self._stacks):
            channels = tuple(f"series{n + 1}" for n in range(len(self._stacks)))
        return ImageInfo(
            source=source,
            format="dicom",
            kind="volume",
            field="medical",
            shape=shape,
            axes=names,
            channels=channels,
            dtype=self._dtype.name,
            wraps=(False,) * len(shape),
            chunk=chunk,
            nodata=None,
            grid={
                "affine": first.affine.tolist(),
                "native_shape": [*native, *([times] if times > 1 else [])],
                "orientation": "".join(str(c) for c in nib.orientations.aff2axcodes(first.affine)),
                "spacing": list(spacing),
                "unit_mm": 1.0,
                "voxel_mm3": abs(float(np.linalg.det(first.affine[:3, :3]))),
            },
            notes=tuple(notes),
            suspicions=chosen.suspicions,
        )


def _one_frame(source: Source, stack: Stack | None, frame: int | None) -> Stack | None:
    """The time point that the user asks for."""
    if stack is None or frame is None:
        return stack
    if frame >= len(stack.frames):
        raise InputError(
            f"{source} has {len(stack.frames)} time points, from 0: --frame {frame} is none of them"
        )
    return Stack((stack.frames[frame],), stack.affine, stack.tilt, stack.thickness)


def _dtype(stack: Stack, stored_units: bool) -> np.dtype[Any]:
    """The smallest integers that hold every value where rescaling is whole-numbered, else float32 (or 64)."""
    frames = [f for time in stack.frames for f in time]
    first = frames[0].stored
    own = np.result_type(*(f"{'i' if f.stored.signed else 'u'}{f.stored.allocated // 8}" for f in frames))
    if stored_units:
        return own
    scales = {(f.slope, f.intercept) for f in frames}
    if scales == {(1.0, 0.0)}:
        return own
    if any(slope != int(slope) or inter != int(inter) for slope, inter in scales):
        return np.dtype(np.float32 if first.allocated <= 16 else np.float64)
    ends = [
        int(slope) * end + int(inter)
        for slope, inter in scales
        for end in _ends({(f.stored.bits, f.stored.signed) for f in frames})
    ]
    for kind in ("int16", "int32", "int64"):
        if np.iinfo(kind).min <= min(ends) and max(ends) <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.float64)


def _ends(kinds: set[tuple[int, bool]]) -> list[int]:
    """Lowest and highest value that may be stored."""
    return [
        end
        for bits, signed in kinds
        for end in ((-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1))
    ]
