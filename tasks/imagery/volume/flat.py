"""Volumes whose voxels lie in a plain file: seen in closest canonical orientation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.volumeutils import apply_read_scaling

from tasks.errors import InputError
from tasks.imagery.protocol import ImageInfo, Pixels, Window
from tasks.imagery.source import Source
from tasks.imagery.volume import orientation
from tasks.imagery.volume.voxels import Voxels
from tasks.imagery.wanted import Wanted

#: More voxels than this in one file are refused.
MAX_VOXELS = 10**11

Fourth = Literal["frames", "channels"]


@dataclass(frozen=True)
class Frames:
    """What becomes of a fourth axis.

    Attributes:
        shown: Which of its places.
        role: Whether they are an axis ``t`` or the channels.
        together: Whether a voxel's values lie side by side in the file, rather than frame after frame.
    """

    shown: range
    role: Fourth
    together: bool = False

    @property
    def series(self) -> bool:
        """Whether the image has an axis ``t``."""
        return self.role == "frames" and len(self.shown) > 1


def frames_of(count: int, wanted: Wanted, *, label: str, asked: bool, notes: list[str]) -> Frames:
    """The rule of a fourth axis: one frame if asked for, channels if it has as many as the model, else frames.

    Args:
        count: Its length.
        wanted: What model and user want.
        label: What the user calls the file.
        asked: Whether it holds a fourth axis at all.
        notes: Receives a sentence where it is taken for channels.

    Raises:
        InputError: The frame that is asked for is not there.
    """
    frame = wanted.reading.frame
    if frame is not None:
        if frame >= count:
            there = f"frames 0 to {count - 1}" if asked and count > 1 else "one frame"
            raise InputError(
                f"{label} has {there} and --frame {frame} is asked for; choose one that is there."
            )
        return Frames(range(frame, frame + 1), "frames")
    if count > 1 and wanted.number == count:
        notes.append(
            f"The fourth axis holds {count} values, as many as the model has channels: they are channels."
        )
        return Frames(range(count), "channels")
    return Frames(range(count), "frames")


def check_affine(affine: npt.NDArray[np.float64], label: str, *, remedy: str) -> None:
    """Refuses an affine that is not finite, or without volume.

    Raises:
        InputError: It is.
    """
    if not np.isfinite(affine).all():
        raise InputError(f"{label} has an affine that is not finite; {remedy}.")
    steps = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    if not steps.all() or abs(np.linalg.det(affine[:3, :3] / steps)) < 1e-6:
        raise InputError(f"{label} has a singular affine; {remedy}.")


def volume_info(
    *,
    source: Source,
    name: str,
    affine: npt.NDArray[np.float64],
    unit_mm: float,
    native: tuple[int, int, int],
    declared: tuple[int, ...],
    frames: Frames,
    channels: tuple[str, ...],
    dtype: np.dtype[Any],
    notes: list[str],
    inflated: int = 0,
) -> ImageInfo:
    """What is known of a volume in a plain file.

    Args:
        source: What was opened.
        name: Of its format.
        affine: 4×4, of the file's own axes to RAS+, in units of ``unit_mm``.
        unit_mm: Millimetres of its unit.
        native: Sizes of its own spatial axes, fastest first.
        declared: Sizes that a mask of it has.
        frames: What becomes of its fourth axis.
        channels: Their names.
        dtype: Of the values that are read.
        notes: Sentences a user should see.
        inflated: Bytes of its inflated form in the scratch folder.
    """
    axes = orientation.axis_map(affine)
    steps = np.sqrt((affine[:3, :3] ** 2).sum(axis=0)) * unit_mm
    shape: tuple[int, ...] = tuple(native[axis] for axis, _ in axes)
    spacing: tuple[float, ...] = tuple(float(steps[axis]) for axis, _ in axes)
    chunk: tuple[int, ...] = tuple(native[0] if axis == 0 else 1 for axis, _ in axes)
    names: tuple[str, ...] = ("z", "y", "x")
    if frames.series:
        names, shape = ("t", *names), (len(frames.shown), *shape)
        spacing, chunk = (0.0, *spacing), (1, *chunk)
    return ImageInfo(
        source=source,
        format=name,
        kind="volume",
        field="medical",
        shape=shape,
        axes=names,
        channels=channels,
        dtype=dtype.newbyteorder("=").name,
        wraps=(False,) * len(shape),
        chunk=chunk,
        nodata=None,
        grid={
            "affine": affine.tolist(),
            "native_shape": list(declared),
            "orientation": "".join(str(c) for c in nib.orientations.aff2axcodes(affine)),
            "spacing": list(spacing),
            "unit_mm": unit_mm,
            "voxel_mm3": abs(float(np.linalg.det(affine[:3, :3]))) * unit_mm**3,
        },
        notes=tuple(notes),
        inflated=inflated,
    )


class FlatImage:
    """A volume whose voxels lie in a plain file.

    Args:
        info: What is known of it.
        voxels: Where its voxels lie; closed with this.
        frames: What becomes of its fourth axis.
        scaling: Slope and intercept of the values.
    """

    def __init__(
        self, info: ImageInfo, voxels: Voxels, frames: Frames, *, scaling: tuple[float, float] = (1.0, 0.0)
    ) -> None:
        self._info, self._voxels, self._frames, self._scaling = info, voxels, frames, scaling
        self._axes = orientation.axis_map(info.grid["affine"])

    @property
    def info(self) -> ImageInfo:
        """What is known without reading voxels."""
        return self._info

    def read(self, window: Window) -> Pixels:
        """Reads ``([t,] z, y, x)``.

        Returns:
            Values ``(*window, channels)``, C-contiguous, scaled as nibabel scales; valid
            where every channel is finite.

        Raises:
            InputError: The file ends inside the window, or its disk cannot be read.
        """
        where = orientation.to_native(window[-3:], self._axes, self._voxels.shape[:3])
        frames = self._frames.shown[window[0]] if self._frames.series else self._frames.shown
        if self._frames.together:
            raw = self._voxels.read(where, range(1))[..., 0, frames.start : frames.stop]
        else:
            raw = self._voxels.read(where, frames)[..., 0]
        raw = orientation.canonical_view(raw, self._axes)
        if self._frames.role == "frames":
            raw = np.moveaxis(raw, 3, 0)[..., np.newaxis]
            raw = raw if self._frames.series else raw[0]
        scaled = apply_read_scaling(raw, *self._scaling)
        values = np.ascontiguousarray(scaled, dtype=np.dtype(self._info.dtype))
        if values.dtype.kind == "f":
            valid = np.isfinite(values).all(axis=-1)
        else:
            valid = np.ones(values.shape[:-1], bool)
        return Pixels(values, valid)

    def close(self) -> None:
        """Closes the file; reading afterwards is an error."""
        self._voxels.close()
