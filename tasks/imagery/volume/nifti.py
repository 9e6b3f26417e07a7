"""NIfTI-1 and NIfTI-2, in one file or a pair, seen in closest canonical orientation."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.volumeutils import apply_read_scaling

from tasks.errors import InputError
from tasks.imagery.source import Source
from tasks.imagery.volume import inflate, orientation
from tasks.imagery.volume.companions import pair_of
from tasks.imagery.volume.flat import MAX_VOXELS, FlatImage, check_affine, frames_of, volume_info
from tasks.imagery.volume.voxels import Voxels
from tasks.imagery.wanted import Wanted

_UNIT_MM = {"meter": 1000.0, "mm": 1.0, "micron": 1e-3, "unknown": 1.0}
_MAX_HEADER = 540
#: Kind of header, its size, where its magic is, of one file and of a pair.
_KINDS = (
    (nib.Nifti1Header, 348, 344, b"n+1\0", b"ni1\0"),
    (nib.Nifti2Header, 540, 4, b"n+2\0", b"ni2\0"),
)
_PAIRED = (".hdr", ".img", ".hdr.gz", ".img.gz")


def read_header(path: Path) -> Any:
    """The NIfTI header of ``.nii``, ``.nii.gz`` or of a pair, still in the file's byte order.

    That of a pair is given as the one of a single file, except for where its voxels begin.

    Raises:
        InputError: Not NIfTI, or its header is damaged.
    """
    paired = path.name.lower().endswith(_PAIRED)
    path = pair_of(path)[0] if paired else path
    if path.name.lower().endswith(".gz"):
        head = inflate.head_of(path, _MAX_HEADER)
    else:
        with path.open("rb") as f:
            head = f.read(_MAX_HEADER)
    for kind, size, where, single, pair in _KINDS:
        if len(head) >= size and head[where : where + 4] == (pair if paired else single):
            try:
                header = kind.from_fileobj(io.BytesIO(head[:size]), check=False)
            except Exception as e:
                raise InputError(f"{path} has a damaged NIfTI header ({e}); export it again.") from e
            header["magic"] = single if size == 348 else single + b"\r\n\x1a\n"
            return header
    if paired:
        raise InputError(
            f"{path} is an Analyze 7.5 image, which does not say left from right; convert it with "
            "fslchfiletype NIFTI_GZ and check its orientation."
        )
    raise InputError(f"{path} is not a single-file NIfTI image; convert it with dcm2niix or mri_convert.")


def open_nifti(source: Source, *, scratch: Path, wanted: Wanted) -> FlatImage:
    """Opens a NIfTI volume; see ``tasks.imagery.formats.Format``.

    A fourth axis is time (axis ``t``, first) unless its length is the number of channels
    that the model takes, or one frame is asked for. Trailing axes of length 1 are dropped.

    Args:
        source: ``.nii``, ``.nii.gz``, or ``.hdr`` or ``.img`` of a pair.
        scratch: Folder for what has to be inflated.
        wanted: What model and user want.

    Raises:
        InputError: It cannot be used as an image; the sentence says why.
        tasks.errors.OutputError: ``scratch`` cannot take the inflated data.
    """
    path = source.local
    header = read_header(path)
    notes: list[str] = []
    full = _shape(header, path)
    dtype = _dtype(header, path)
    affine = _affine(header, path, notes)
    paired = path.name.lower().endswith(_PAIRED)
    offset = _data_offset(header, path, first=0 if paired else header.sizeof_hdr)
    scaling = _scaling(header, path)
    native = (*orientation.spatial(full), full[3] if len(full) > 3 else 1)
    frames = frames_of(native[3], wanted, label=str(path), asked=len(full) > 3, notes=notes)
    declared = _declared_shape(header)
    n = len(frames.shown) if frames.role == "channels" else 1
    size = offset + math.prod(native) * dtype.itemsize
    data = pair_of(path)[1] if paired else path
    packed = data.name.lower().endswith(".gz")
    if not packed and data.stat().st_size < size:
        raise InputError(f"{data} claims {size} bytes but holds {data.stat().st_size}; fetch it again.")
    info = volume_info(
        source=source,
        name="nifti",
        affine=affine,
        unit_mm=_UNIT_MM.get(header.get_xyzt_units()[0], 1.0),
        native=native[:3],
        declared=declared if frames.series or native[3] == 1 else declared[:3],
        frames=frames,
        channels=("intensity",) if n == 1 else tuple(f"intensity{c + 1}" for c in range(n)),
        dtype=_scaled_dtype(dtype, scaling),
        notes=notes,
        inflated=size if packed else 0,
    )
    voxels = Voxels(
        inflate.inflate(data, scratch, size=size) if packed else data,
        label=str(path),
        offset=offset,
        dtype=dtype,
        shape=native,
    )
    return FlatImage(info, voxels, frames, scaling=scaling)


def _scaled_dtype(dtype: np.dtype[Any], scaling: tuple[float, float]) -> np.dtype[Any]:
    if scaling != (1.0, 0.0):
        dtype = apply_read_scaling(np.zeros(1, dtype), *scaling).dtype
    return np.dtype(np.float64) if dtype.itemsize > 8 else dtype


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


def _data_offset(header: Any, path: Path, *, first: int) -> int:
    offset = float(header["vox_offset"])
    if not math.isfinite(offset) or offset < first or offset > 2**53:
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
    check_affine(affine, str(path), remedy="set its orientation with fslorient")
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
