"""NIfTI-1 and NIfTI-2 behind the image protocol, always seen in closest canonical orientation.

Windows are read with ``pread``, piece by piece: thread-safe without a lock, and no mapped
pages count against the run's memory.
"""

from __future__ import annotations

import io
import math
import os
import weakref
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.volumeutils import apply_read_scaling

from tasks.errors import InputError
from tasks.imagery.protocol import ImageInfo, Pixels, Window
from tasks.imagery.source import Source
from tasks.imagery.volume import inflate, orientation
from tasks.imagery.wanted import Wanted

_UNIT_MM = {"meter": 1000.0, "mm": 1.0, "micron": 1e-3, "unknown": 1.0}
_MAX_HEADER = 540
#: More voxels than this in one file are refused.
MAX_VOXELS = 10**11
#: Bytes held at once, besides the window itself.
_PIECE = 8 << 20
#: Gaps of fewer bytes are read and dropped: that is cheaper than another call.
_GAP = 32 << 10


def read_header(path: Path) -> Any:
    """The NIfTI header of ``.nii`` or ``.nii.gz``, still in the file's byte order.

    Raises:
        InputError: Not NIfTI, or its header is damaged.
    """
    gz = path.name.lower().endswith(".gz")
    if gz:
        head = inflate.head_of(path, _MAX_HEADER)
    else:
        with path.open("rb") as f:
            head = f.read(_MAX_HEADER)
    for kind, size, magic in ((nib.Nifti1Header, 348, b"n+1\0"), (nib.Nifti2Header, 540, b"n+2\0")):
        where = 344 if size == 348 else 4
        if len(head) >= size and head[where : where + 4] == magic:
            try:
                return kind.from_fileobj(io.BytesIO(head[:size]), check=False)
            except Exception as e:
                raise InputError(f"{path} has a damaged NIfTI header ({e}); export it again.") from e
    raise InputError(f"{path} is not a single-file NIfTI image; convert it with dcm2niix or mri_convert.")


def open_nifti(source: Source, *, scratch: Path, wanted: Wanted) -> NiftiImage:
    """Opens a NIfTI volume; see ``tasks.imagery.formats.Format``.

    Raises:
        InputError: It cannot be used as an image.
        tasks.errors.OutputError: ``scratch`` cannot take the inflated data.
    """
    return NiftiImage(source.local, scratch=scratch, channels=wanted.number)


class NiftiImage:
    """One NIfTI file.

    A fourth axis is time (axis ``t``, first) unless its length is the number of channels
    that the model takes. Trailing axes of length 1 are dropped.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        scratch: Folder for the inflated file of a ``.nii.gz``.
        channels: Number of channels that the model wants, if known.

    Raises:
        InputError: The file cannot be used as an image; the sentence says why.
    """

    def __init__(self, path: Path, *, scratch: Path, channels: int | None = None) -> None:
        header = read_header(path)
        self._native, info = _inspect(header, path, channels)
        self._dtype = header.get_data_dtype()
        self._slope, self._inter = _scaling(header, path)
        self._offset = _data_offset(header, path)
        size = self._offset + math.prod(self._native) * self._dtype.itemsize
        if path.name.lower().endswith(".gz"):
            self._data = inflate.inflate(path, scratch, size=size)
        else:
            self._data = path
            if path.stat().st_size < size:
                raise InputError(
                    f"{path} claims {size} bytes but holds {path.stat().st_size}; fetch it again."
                )
        self._info = info
        self._axes = orientation.axis_map(info.grid["affine"])
        self._fd = os.open(self._data, os.O_RDONLY)
        # Also without close(): an open descriptor would keep a deleted scratch file on the disk.
        self._closing = weakref.finalize(self, os.close, self._fd)

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
        if not self._closing.alive:
            raise ValueError(f"{self._info.source} is closed")
        where = orientation.to_native(window[-3:], self._axes, orientation.spatial(self._native))
        frames = self._native[3]
        if "t" in self._info.axes:
            raw = self._raw(where, range(window[0].start, window[0].stop))
            canonical = np.moveaxis(orientation.canonical_view(raw, self._axes), 3, 0)[..., np.newaxis]
        else:
            canonical = orientation.canonical_view(self._raw(where, range(frames)), self._axes)
        scaled = apply_read_scaling(canonical, self._slope, self._inter)
        values = np.ascontiguousarray(scaled, dtype=np.dtype(self._info.dtype))
        if values.dtype.kind == "f":
            valid = np.isfinite(values).all(axis=-1)
        else:
            valid = np.ones(values.shape[:-1], bool)
        return Pixels(values, valid)

    def close(self) -> None:
        """Closes the file; reading afterwards is an error."""
        self._closing()

    def _raw(self, where: Window, frames: range) -> npt.NDArray[Any]:
        """Unscaled native ``(i, j, k, frame)``: runs of rows along i, from first to last voxel wanted."""
        ni, nj, nk, _ = self._native
        i, j, k = where
        item = self._dtype.itemsize
        wide = i.stop - i.start
        shape = (wide, j.stop - j.start, k.stop - k.start, len(frames))
        out = np.empty(shape, self._dtype.newbyteorder("="), order="F")
        together = max(1, _PIECE // (ni * item)) if (ni - wide) * item < _GAP else 1
        for t, frame in enumerate(frames):
            for s, plane in enumerate(range(k.start, k.stop)):
                for row in range(0, shape[1], together):
                    rows = min(together, shape[1] - row)
                    first = ((frame * nk + plane) * nj + j.start + row) * ni + i.start
                    part = self._voxels(first, (rows - 1) * ni + wide)
                    # Row after row begins ``ni`` voxels on; the last one is cut short.
                    strides = (item, ni * item)
                    cut = np.lib.stride_tricks.as_strided(part, (wide, rows), strides, writeable=False)
                    out[:, row : row + rows, s, t] = cut
        return out

    def _voxels(self, first: int, n: int) -> npt.NDArray[Any]:
        """``n`` voxels as they are stored, from number ``first`` on."""
        item = self._dtype.itemsize
        try:
            data = _pread(self._fd, n * item, self._offset + first * item)
        except OSError as e:
            raise InputError(
                f"{self._info.source} cannot be read ({e.strerror or e}); check the disk it lies on, or copy it "
                "to another."
            ) from e
        if len(data) < n * item:
            raise InputError(f"{self._info.source} ends inside its voxels; fetch or export it again.")
        return np.frombuffer(data, self._dtype)


def _pread(fd: int, length: int, offset: int) -> bytes:
    """``os.pread`` that goes on after a short read (Linux stops at 2 GiB)."""
    parts = []
    while length:
        data = os.pread(fd, length, offset)
        if not data:
            break
        parts.append(data)
        length -= len(data)
        offset += len(data)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _inspect(header: Any, path: Path, wanted: int | None) -> tuple[tuple[int, int, int, int], ImageInfo]:
    notes: list[str] = []
    full = _shape(header, path)
    dtype = _dtype(header, path)
    affine = _affine(header, path, notes)
    native = (*orientation.spatial(full), full[3] if len(full) > 3 else 1)
    axes = orientation.axis_map(affine)
    unit = _UNIT_MM.get(header.get_xyzt_units()[0], 1.0)
    steps = np.sqrt((affine[:3, :3] ** 2).sum(axis=0)) * unit
    shape: tuple[int, ...] = tuple(native[axis] for axis, _ in axes)
    spacing = tuple(float(steps[axis]) for axis, _ in axes)
    chunk = tuple(native[0] if axis == 0 else 1 for axis, _ in axes)
    names: tuple[str, ...] = ("z", "y", "x")
    channels: tuple[str, ...] = ("intensity",)
    if native[3] > 1 and wanted == native[3]:
        channels = tuple(f"intensity{c + 1}" for c in range(native[3]))
        notes.append(
            f"The fourth axis holds {native[3]} values, as many as the model has channels: they are channels."
        )
    elif native[3] > 1:
        names, shape = ("t", *names), (native[3], *shape)
        spacing, chunk = (0.0, *spacing), (1, *chunk)
    slope, inter = _scaling(header, path)
    if (slope, inter) != (1.0, 0.0):
        dtype = apply_read_scaling(np.zeros(1, dtype), slope, inter).dtype
    if dtype.itemsize > 8:
        dtype = np.dtype(np.float64)
    info = ImageInfo(
        source=Source.of(path),
        format="nifti",
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
            "native_shape": list(_declared_shape(header)),
            "orientation": "".join(str(c) for c in nib.orientations.aff2axcodes(affine)),
            "spacing": list(spacing),
            "unit_mm": unit,
            "voxel_mm3": abs(float(np.linalg.det(affine[:3, :3]))) * unit**3,
        },
        notes=tuple(notes),
    )
    return native, info


def _declared_shape(header: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in header.get_data_shape())


def _shape(header: Any, path: Path) -> tuple[int, ...]:
    if not 1 <= int(header["dim"][0]) <= 7:
        raise InputError(
            f"{path} claims {int(header['dim'][0])} axes; export it again as a 2-D, 3-D or 4-D volume."
        )
    shape = _declared_shape(header)
    if any(n < 1 for n in shape):
        raise InputError(f"{path} has an axis of length {min(shape)} (shape {shape}); export it again.")
    if math.prod(shape) > MAX_VOXELS:
        raise InputError(
            f"{path} claims {math.prod(shape)} voxels (shape {shape}), more than {MAX_VOXELS:.0e}; crop it."
        )
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > 4:
        raise InputError(f"{path} has {len(shape)} axes (shape {shape}); split it into 4-D files.")
    return shape


def _dtype(header: Any, path: Path) -> np.dtype[Any]:
    try:
        dtype = np.dtype(header.get_data_dtype())
    except Exception as e:
        raise InputError(
            f"{path} has an unknown data type (code {int(header['datatype'])}); export it again."
        ) from e
    if dtype.kind == "c":
        raise InputError(f"{path} holds complex numbers; export magnitude or another real quantity.")
    if dtype.kind not in "iuf" or dtype.itemsize == 0:
        raise InputError(
            f"{path} holds colours or records ({dtype}), not intensities; export it as a grey-value volume."
        )
    return dtype


def _scaling(header: Any, path: Path) -> tuple[float, float]:
    try:
        slope, inter = header.get_slope_inter()
    except Exception as e:
        raise InputError(f"{path} has an impossible intensity scaling ({e}); export it again.") from e
    return (1.0 if slope is None else float(slope)), (0.0 if inter is None else float(inter))


def _data_offset(header: Any, path: Path) -> int:
    offset = float(header["vox_offset"])
    if not math.isfinite(offset) or offset < header.sizeof_hdr:
        raise InputError(
            f"{path} says that its voxels begin at byte {offset}, inside the header; export it again."
        )
    return int(offset)


def _affine(header: Any, path: Path, notes: list[str]) -> npt.NDArray[np.float64]:
    q, s = int(header["qform_code"]), int(header["sform_code"])
    try:
        affine = np.asarray(header.get_best_affine(), float)
    except Exception as e:
        raise InputError(f"{path} has an impossible qform ({e}); set its orientation with fslorient.") from e
    if not np.isfinite(affine).all():
        raise InputError(f"{path} has an affine that is not finite; set its orientation with fslorient.")
    steps = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    if not steps.all() or abs(np.linalg.det(affine[:3, :3] / steps)) < 1e-6:
        raise InputError(f"{path} has a singular affine; set its orientation with fslorient.")
    if q == 0 and s == 0:
        notes.append("The file states no orientation (qform and sform codes 0): LAS is assumed.")
    if q > 0 and s > 0 and _disagree(header, affine):
        notes.append("qform and sform disagree; sform is used.")
    return affine


def _disagree(header: Any, sform: npt.NDArray[np.float64]) -> bool:
    """Whether qform puts any corner of the grid half a voxel or more from where sform does."""
    try:
        qform = np.asarray(header.get_qform(), float)
    except Exception:
        # A qform that cannot be computed agrees with nothing.
        return True
    corners = np.array(
        np.meshgrid(*((0, n - 1) for n in orientation.spatial(_declared_shape(header))))
    ).reshape(3, -1)
    points = np.vstack([corners, np.ones(corners.shape[1])])
    shift = np.linalg.norm(((qform - sform) @ points)[:3], axis=0).max()
    return not shift < 0.5 * np.sqrt((sform[:3, :3] ** 2).sum(axis=0)).min()
