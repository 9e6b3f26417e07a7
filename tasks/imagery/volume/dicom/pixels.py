"""The stored values of one frame: read where they lie, or decoded by pydicom or ITK."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.imagery.volume.dicom.slices import Stored

_BIG_ENDIAN = "1.2.840.10008.1.2.2"
#: Run lengths and JPEG-LS are pydicom's; of the rest pydicom decodes too little here.
_BY_PYDICOM = {"1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"}


class PixelError(Exception):
    """A frame that cannot be decoded."""


def stored_values(stored: Stored, index: int) -> npt.NDArray[Any]:
    """One frame's values as they are stored, with their sign.

    Returns:
        ``(rows, columns)`` of a native integer type.

    Raises:
        PixelError: The file is truncated, corrupt or gone.
    """
    try:
        raw = _native(stored, index) if stored.native else _decoded(stored, index)
    except PixelError:
        raise
    except OSError as error:
        raise PixelError(f"its file cannot be read ({error.strerror or 'I/O error'})") from None
    except Exception as error:  # decoders raise nearly anything on corrupt data
        raise PixelError(f"its pixels cannot be decoded ({type(error).__name__})") from None
    if raw.shape != (stored.rows, stored.columns):
        raise PixelError("its pixels are of another size than its header says")
    return _signed(raw, stored)


def _native(stored: Stored, index: int) -> npt.NDArray[Any]:
    order = ">" if stored.syntax == _BIG_ENDIAN else "<"
    n = stored.frame_bytes
    fd = os.open(stored.path, os.O_RDONLY)
    try:
        data = os.pread(fd, n, stored.offset + index * n)
    finally:
        os.close(fd)
    if len(data) < n:
        raise PixelError("its file ends inside its pixels")
    raw = np.frombuffer(data, np.dtype(f"{order}u{stored.allocated // 8}"))
    return raw.reshape(stored.rows, stored.columns).astype(raw.dtype.newbyteorder("="))


def _signed(raw: npt.NDArray[Any], stored: Stored) -> npt.NDArray[Any]:
    """Only the bits that hold the value (others once held overlays), as a signed number if it is one."""
    size = stored.allocated // 8
    bits = raw.astype(f"u{size}", copy=False)
    spare = stored.allocated - stored.bits
    if spare:
        bits = bits << np.array(spare, bits.dtype)
    values = bits.view(f"i{size}") if stored.signed else bits
    return values >> np.array(spare, values.dtype) if spare else values


def _decoded(stored: Stored, index: int) -> npt.NDArray[Any]:
    from pydicom.encaps import get_frame

    with stored.path.open("rb") as f:
        f.seek(stored.offset)
        data = get_frame(f, index, number_of_frames=stored.frames)
    alone = _alone(stored, data)
    if stored.syntax in _BY_PYDICOM:
        from pydicom.pixels.utils import pixel_array

        # Runs that give more bytes than a slice has are damaged; pydicom would drop the rest and go on.
        warnings.filterwarnings("error", message="The decoded RLE segment")
        return np.asarray(pixel_array(alone, raw=True))
    return _by_itk(alone)


def _alone(stored: Stored, data: bytes) -> Any:
    """A data set that holds this frame and nothing else: no rescaling, nobody's name."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, SecondaryCaptureImageStorage

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(stored.syntax)
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    made.Rows, made.Columns, made.SamplesPerPixel = stored.rows, stored.columns, 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit = stored.allocated, stored.bits, stored.bits - 1
    made.PixelRepresentation = int(stored.signed)
    made.PixelData = encapsulate([data])
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    return made


def _by_itk(alone: Any) -> npt.NDArray[Any]:
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "frame.dcm")
        alone.save_as(path, enforce_file_format=True)
        reader = SimpleITK.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(path))
        values = SimpleITK.GetArrayFromImage(reader.Execute())
    return np.asarray(values.reshape(values.shape[-2:]))
