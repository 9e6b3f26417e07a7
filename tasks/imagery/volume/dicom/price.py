"""What a DICOM segmentation costs, before one is made."""

from __future__ import annotations

from segmodels.bundles.card import Card
from tasks.imagery.protocol import ImageInfo

#: highdicom with what it imports, and its data set of one frame; measured.
LIBRARY_BYTES, FRAME_BYTES = 130 << 20, 40 << 10


def dicom_bytes(info: ImageInfo, card: Card) -> int:
    """Memory that making ``mask.dcm`` takes at most; 0 where there will be none.

    A mapped file of segment numbers, one bit per voxel and segment in two copies, and a data set per frame.
    """
    if info.format != "dicom" or info.axes[0] == "t":
        return 0
    columns, rows, slices = (int(n) for n in info.grid["native_shape"][:3])
    segments = sum(c.region for c in card.classes)
    voxels = columns * rows * slices
    return (
        LIBRARY_BYTES
        + voxels * (2 if segments > 255 else 1)
        + segments * (voxels // 4 + slices * FRAME_BYTES)
    )
