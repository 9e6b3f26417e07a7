"""Microscopy: images in arrays with named axes, chunk by chunk, as volumes in true units.

A model sees the array as it is stored, first row on top. Places in space are the array's own: x, y and z grow along
its axes from the file's origin, in the file's unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.errors import InputError
from tasks.imagery.protocol import ImageInfo, Pixels, Window
from tasks.imagery.source import Source
from tasks.imagery.volume import orientation
from tasks.imagery.volume.flat import MAX_VOXELS, check_affine
from tasks.imagery.wanted import Reading

AXES = "tczyx"
#: A chunk is decoded in full, so a larger one is refused.
MAX_CHUNK_BYTES = 1 << 30
#: Above this, a chunk is worth a warning.
LARGE_CHUNK_BYTES = 256 << 20
_MM = {
    "angstrom": 1e-7,
    "nanometer": 1e-6,
    "nm": 1e-6,
    "micrometer": 1e-3,
    "micrometre": 1e-3,
    "micron": 1e-3,
    "µm": 1e-3,
    "μm": 1e-3,
    "um": 1e-3,
    "millimeter": 1.0,
    "mm": 1.0,
    "centimeter": 10.0,
    "cm": 10.0,
    "meter": 1000.0,
    "m": 1000.0,
    "inch": 25.4,
}


def unit_mm(name: str | None) -> float | None:
    """Millimetres of a unit; None: it is not known.

    Example:
        >>> unit_mm("micrometer")
        0.001
    """
    return _MM.get((name or "").strip())


@dataclass(frozen=True)
class Named:
    """An array and what its axes mean.

    Attributes:
        array: What ``zarr`` opened.
        axes: A letter of ``tczyx`` per axis.
        scale: Step per axis, in ``unit``.
        origin: Place of its first element per axis.
        unit: Of space; None: the file does not say.
        channels: Names, or none.
    """

    array: Any
    axes: str
    scale: tuple[float, ...]
    origin: tuple[float, ...]
    unit: str | None
    channels: tuple[str, ...] = ()


class ArrayImage:
    """A volume in a chunked array.

    Args:
        named: The array.
        source: What was opened.
        format: Its name in the table of formats.
        reading: What the user says.
        extra: Further words of ``grid`` for the writer of the mask.
        close: Gives files back.

    Raises:
        InputError: It cannot be used as an image; the sentence says why.
    """

    def __init__(
        self,
        named: Named,
        *,
        source: Source,
        format: str,
        reading: Reading,
        extra: dict[str, Any] | None = None,
        close: Callable[[], None] | None = None,
    ) -> None:
        self._array, self._axes_in = named.array, named.axes
        self._close, self._closed = close, False
        frames = _axis(named, "t")
        if reading.frame is not None and reading.frame >= frames:
            raise InputError(
                f"{source} has {frames} frame{'s' * (frames != 1)} and --frame {reading.frame} is asked for; "
                "choose one that is there."
            )
        self._frames = range(frames) if reading.frame is None else range(reading.frame, reading.frame + 1)
        self._info = _info(named, source, format, len(self._frames), extra or {})
        self._map = orientation.axis_map(self._info.grid["affine"])
        self._native = orientation.spatial(tuple(self._info.grid["native_shape"]))

    @property
    def info(self) -> ImageInfo:
        """What is known without reading voxels."""
        return self._info

    def read(self, window: Window) -> Pixels:
        """Reads ``([t,] z, y, x)``; chunks that are not stored hold the array's fill value.

        Raises:
            InputError: A chunk is damaged.
        """
        if self._closed:
            raise ValueError(f"{self._info.source} is closed")
        series = "t" in self._info.axes
        i, j, k = orientation.to_native(window[-3:], self._map, self._native)
        shown = self._frames[window[0]] if series else self._frames
        where = {"t": slice(shown.start, shown.stop), "c": slice(None), "z": k, "y": j, "x": i}
        try:
            stored = np.asarray(self._array[tuple(where[a] for a in self._axes_in)])
        except Exception as e:  # each codec has errors of its own
            reason = " ".join(str(e).split())[:160] or type(e).__name__
            raise InputError(
                f"{self._info.source} cannot be read at {_said(where)}: its chunks are damaged ({reason}); fetch "
                "it again."
            ) from e
        values = orientation.canonical_view(_arranged(stored, self._axes_in), self._map)
        values = np.moveaxis(values, 3, 0) if series else values[..., 0, :]
        values = np.ascontiguousarray(values, dtype=np.dtype(self._info.dtype))
        if values.dtype.kind == "f":
            return Pixels(values, np.isfinite(values).all(axis=-1))
        return Pixels(values, np.ones(values.shape[:-1], bool))

    def close(self) -> None:
        """Gives files back; reading afterwards is an error."""
        self._closed = True
        if self._close is not None:
            self._close()


def _arranged(stored: npt.NDArray[Any], axes: str) -> npt.NDArray[Any]:
    """A view with axes ``x y z t c``, missing ones of length 1."""
    order = [axes.index(a) for a in "xyztc" if a in axes]
    view = stored.transpose(order)
    return view[tuple(slice(None) if a in axes else np.newaxis for a in "xyztc")]


def _said(where: dict[str, slice]) -> str:
    return ", ".join(f"{a} {s.start}–{s.stop}" for a, s in where.items() if a in "zyx")


def _axis(named: Named, axis: str, values: Sequence[Any] | None = None, default: Any = 1) -> Any:
    """What a sequence with one entry per axis holds for one; of the shape by default."""
    values = named.array.shape if values is None else values
    return values[named.axes.index(axis)] if axis in named.axes else default


def _info(named: Named, source: Source, format: str, frames: int, extra: dict[str, Any]) -> ImageInfo:
    array, axes = named.array, named.axes
    dtype = np.dtype(array.dtype)
    notes: list[str] = []
    if dtype.kind == "b":
        dtype = np.dtype(np.uint8)
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise InputError(f"{source} holds {dtype}, not intensities; export it as numbers.")
    shape = tuple(int(n) for n in array.shape)
    if min(shape) < 1:
        raise InputError(f"{source} has an axis of length 0 (shape {shape}); export it again.")
    if math.prod(shape) > MAX_VOXELS:
        raise InputError(f"{source} claims {math.prod(shape)} voxels (shape {shape}); crop it.")
    chunks = [min(int(c), n) for c, n in zip(array.chunks, shape, strict=True)]
    size = math.prod(chunks) * dtype.itemsize
    if size > MAX_CHUNK_BYTES:
        raise InputError(
            f"{source} has chunks of {size / 2**20:.0f} MiB, each of which must be decoded in full; rechunk it."
        )
    if size > LARGE_CHUNK_BYTES:
        notes.append(
            f"One chunk holds {size / 2**20:.0f} MiB, so any window needs as much memory; rechunk it."
        )
    unit = unit_mm(named.unit)
    if unit is None:
        notes.append(
            "The file states no unit of its pixels' size that is known here: a step of 1 counts as 1 mm, so volumes "
            "may be in voxels."
        )
    steps = [float(_axis(named, a, named.scale, 1.0)) for a in "xyz"]
    start = [float(_axis(named, a, named.origin, 0.0)) for a in "xyz"]
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = start
    check_affine(affine, str(source), remedy="correct the pixel size in its metadata")
    if min(steps) < 0:
        raise InputError(f"{source} states a pixel size below 0; correct it in its metadata.")
    placed, unit = unit is not None, 1.0 if unit is None else unit
    spatial = tuple(int(_axis(named, a)) for a in "zyx")
    spacing = tuple(s * unit for s in reversed(steps))
    chunk = tuple(int(_axis(named, a, chunks)) for a in "zyx")
    names: tuple[str, ...] = ("z", "y", "x")
    series = frames > 1
    if series:
        names, spacing = ("t", *names), (0.0, *spacing)
        chunk = (int(_axis(named, "t", chunks)), *chunk)
    native = [*reversed(spatial), *([frames] if series else [])]
    count = int(_axis(named, "c"))
    return ImageInfo(
        source=source,
        format=format,
        kind="volume",
        field="medical",
        shape=(frames, *spatial) if series else spatial,
        axes=names,
        channels=_channels(named.channels, count),
        dtype=dtype.newbyteorder("=").name,
        wraps=(False,) * len(names),
        chunk=chunk,
        nodata=None,
        grid={
            "affine": affine.tolist(),
            "native_shape": native,
            "orientation": "RAS",
            "spacing": list(spacing),
            "unit_mm": unit,
            "voxel_mm3": math.prod(steps) * unit**3,
            # No patient lies here: neither left nor right.
            "patient": False,
            "placed": placed,
            "ome": {
                **extra,
                "axes": axes.replace("c", ""),
                "chunks": {a: int(c) for a, c in zip(axes, chunks, strict=True) if a != "c"},
                "t": float(_axis(named, "t", named.scale, 1.0)),
            },
        },
        notes=tuple(notes),
    )


def _channels(given: Sequence[str], count: int) -> tuple[str, ...]:
    """Names, unique, one per channel."""
    if count == 1 and not given:
        return ("intensity",)
    names: list[str] = []
    for c in range(count):
        name = " ".join(given[c].split()) if c < len(given) else ""
        name = name or f"channel{c + 1}"
        taken = {n.casefold() for n in names}
        names.append(f"{name}_{c + 1}" if name.casefold() in taken else name)
    return tuple(names)
