"""A mask as NIfTI with the input's own header: same axes, affine, codes and units, bit for bit."""

from __future__ import annotations

import io
import json
import math
import mmap
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from segmodels.bundles.card import ClassCard
from tasks.codes import special_codes
from tasks.files import writing
from tasks.imagery.formats import format_of
from tasks.imagery.mask_files import fsync_replace, need_space, remove
from tasks.imagery.protocol import ImageInfo, Window
from tasks.imagery.source import Source
from tasks.imagery.views.crop import move_origin
from tasks.imagery.volume import orientation
from tasks.imagery.volume.nifti import read_header

_LABEL = 1002
_COMMENT = 6
_LEVEL = 6
_CHUNK = 1 << 20


class NiftiMask:
    """Collects windows in a mapped plain file in native axes, then compresses it as a stream."""

    def __init__(
        self, info: ImageInfo, path: Path, *, classes: Sequence[ClassCard], wide: bool, tags: dict[str, str]
    ) -> None:
        self._path = path
        self._flat = path.with_name(path.name + ".flat.part")
        self._part = path.with_name(path.name + ".part")
        self._dtype = np.dtype("<u2" if wide else "u1")
        self._axes = orientation.axis_map(info.grid["affine"])
        self._shape = mask_shape(info)
        special = special_codes(wide=wide)
        names = {c.code: c.name for c in classes} | {code: name for name, code in special.items()}
        comment = {"tags": tags, "classes": {str(code): names[code] for code in sorted(names)}}
        self._header = mask_header(info, self._shape, self._dtype, comment)
        self._map: mmap.mmap | None = None
        size = math.prod(self._shape) * self._dtype.itemsize
        try:
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                need_space(path.parent, size)
                # Kept with nodata's bits turned over, so that zeros are nodata.
                self._nodata = self._dtype.type(special["nodata"])
                self._map = reserved(self._flat, size)
        except BaseException:
            self.abort()
            raise

    def write(self, window: Window, codes: npt.NDArray[Any]) -> None:
        """Writes codes ``([t,] z, y, x)``; see ``MaskWriter``."""
        if self._map is None:
            raise ValueError(f"{self._path} is finished")
        native = orientation.spatial(self._shape)
        frames = math.prod(self._shape[3:])
        where = orientation.to_native(window[-3:], self._axes, native)
        codes = codes.astype(self._dtype, casting="same_kind", copy=False) ^ self._nodata
        codes = np.moveaxis(codes, 0, 3) if len(window) == 4 else codes[..., np.newaxis]
        when = window[0] if len(window) == 4 else slice(0, 1)
        with writing(self._path):
            target = np.ndarray((*native, frames), self._dtype, buffer=self._map, order="F")
            target[(*where, when)] = orientation.native_view(codes, self._axes)
            del target
            # Mapped pages would count as this process's memory; the page cache keeps them.
            if hasattr(mmap, "MADV_DONTNEED"):
                self._map.madvise(mmap.MADV_DONTNEED)

    def finish(self) -> None:
        """Compresses without time or name, fsyncs, and gives the file its name."""
        with writing(self._path):
            self._close()
            compress_codes(self._header, self._flat, self._part, nodata=self._nodata)
            fsync_replace(self._part, self._path)
            self._flat.unlink()

    def abort(self) -> None:
        """Removes whatever was written."""
        self._close()
        remove(self._flat, self._part)

    def _close(self) -> None:
        mapped, self._map = self._map, None
        if mapped is not None:
            mapped.close()


def compress_codes(header: Any, flat: Path, target: Path, *, nodata: np.unsignedinteger[Any]) -> None:
    """Writes a header and the codes of a flat file as one gzip stream without time or name."""
    head = io.BytesIO()
    header.write_to(head)
    # Runs alone are looked for: of codes that is as small as the usual way, and takes a third of its time.
    squeeze = zlib.compressobj(_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    with target.open("wb") as out:
        out.write(squeeze.compress(head.getvalue()))
        for codes in _codes(flat, nodata):
            out.write(squeeze.compress(codes.data))
        out.write(squeeze.flush())


def _codes(flat: Path, nodata: np.unsignedinteger[Any]) -> Iterator[npt.NDArray[Any]]:
    with flat.open("rb") as source:
        while piece := source.read(_CHUNK):
            yield np.frombuffer(piece, nodata.dtype) ^ nodata


def mask_shape(info: ImageInfo) -> tuple[int, ...]:
    """Of the input's own axes, channels left out."""
    return tuple(int(n) for n in info.grid["native_shape"])


def reserved(path: Path, size: int) -> mmap.mmap:
    """A new file of zeros, mapped, whose room on the disk is certain: a write that finds none would kill the process."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, size)
        else:
            for start in range(0, size, _CHUNK):
                os.write(fd, bytes(min(_CHUNK, size - start)))
        return mmap.mmap(fd, size)
    finally:
        os.close(fd)


def _own_header(info: ImageInfo) -> Any:
    """For a volume of another format: its affine as sform and, where it has no shear, as qform."""
    shape = [int(n) for n in info.grid["native_shape"]]
    header = nib.Nifti1Header() if max(shape) < 2**15 else nib.Nifti2Header()
    header.set_data_shape(shape)
    affine = np.asarray(info.grid["affine"], float)
    if "offset" in info.grid:
        affine = affine.copy()
        affine[:3, 3] -= affine[:3, :3] @ info.grid["offset"]
    header.set_sform(affine, code="scanner")
    with suppress(nib.spatialimages.HeaderDataError):
        header.set_qform(affine, code="scanner", strip_shears=False)
    units = {1000.0: "meter", 1.0: "mm", 1e-3: "micron"}
    header.set_xyzt_units(units.get(float(info.grid["unit_mm"]), "unknown"))
    return header


def mask_header(
    info: ImageInfo, shape: tuple[int, ...], dtype: np.dtype[Any], comment: dict[str, Any]
) -> Any:
    """The input's header with only the data's description changed; always little-endian."""
    first = info.source.revealed().parts[0]
    # Of several modalities the first is the template.
    own = info.format in ("nifti", "modalities") and format_of(Source(parts=(first,))).name == "nifti"
    header = (read_header(first.local) if own else _own_header(info)).as_byteswapped("<")
    if "offset" in info.grid:
        move_origin(header, info.grid["offset"])
    header.set_data_dtype(dtype)
    pixdim = header["pixdim"].copy()
    header.set_data_shape(shape)
    # nibabel overwrites the steps of axes that are not there; the grid stays as it came.
    header["pixdim"] = pixdim
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["cal_max"] = header["cal_min"] = 0
    header["intent_code"] = _LABEL
    header["intent_name"], header["descrip"], header["aux_file"] = b"", b"segflow", b""
    for field in ("db_name", "data_type", "unused_str"):
        if field in header:
            header[field] = b""
    for field in ("intent_p1", "intent_p2", "intent_p3"):
        header[field] = 0
    if "glmax" in header:
        header["glmax"] = header["glmin"] = 0
    header["vox_offset"] = 0
    text = json.dumps(comment, sort_keys=True, ensure_ascii=True)
    header.extensions.append(nib.nifti1.Nifti1Extension(_COMMENT, text.encode()))
    return header
