"""What a DICOM segmentation costs, before one is made."""

from __future__ import annotations

from segmodels.bundles.card import Card
from tasks.imagery.protocol import ImageInfo

#: highdicom with what it imports, and its data set of one frame; measured.
LIBRARY_BYTES, FRAME_BYTES = 130 << 20, 40 << 10


#: What the segmentation says of one frame, on the disk, with its share of what it says once; measured as 900 bytes.
HEADER_BYTES = 2 << 10


def dicom_bytes(info: ImageInfo, card: Card) -> int:
    """Memory that making ``mask.dcm`` takes at most; 0 where there will be none.

    A mapped file of segment numbers, one bit per voxel and segment in two copies, and a data set per frame.
    """
    voxels, slices, segments = _sizes(info, card)
    if not segments:
        return 0
    return LIBRARY_BYTES + _flat_bytes(voxels, segments) + segments * (voxels // 4 + slices * FRAME_BYTES)


def dicom_disk(info: ImageInfo, card: Card) -> tuple[int, int]:
    """What ``mask.dcm`` takes on the disk at most, and the file of segment numbers that it is made from."""
    voxels, slices, segments = _sizes(info, card)
    return segments * (voxels // 8 + slices * (1 + HEADER_BYTES)), _flat_bytes(voxels, segments)


def _flat_bytes(voxels: int, segments: int) -> int:
    return 0 if not segments else voxels * (2 if segments > 255 else 1)


def _sizes(info: ImageInfo, card: Card) -> tuple[int, int, int]:
    """Voxels, slices and segments; no segment where there will be no ``mask.dcm``."""
    if info.format != "dicom" or info.axes[0] == "t":
        return 0, 0, 0
    columns, rows, slices = (int(n) for n in info.grid["native_shape"][:3])
    return columns * rows * slices, slices, sum(c.region for c in card.classes)
