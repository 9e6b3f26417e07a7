"""The DICOM segmentation of a run whose input is DICOM."""

from __future__ import annotations

from typing import Any

from tasks.imagery.protocol import ImageInfo
from tasks.imagery.views.private import revealed_wanted
from tasks.imagery.wanted import Wanted
from tasks.planning.plan import Plan
from tasks.work import WorkFolder


def write_seg(plan: Plan, info: ImageInfo, record: dict[str, Any], work: WorkFolder) -> tuple[str, ...]:
    """Writes ``mask.dcm`` beside ``mask.nii.gz``, where the input is one DICOM series in three dimensions.

    Returns:
        Why there is none, where a user would look for it.

    Raises:
        OutputError: It cannot be written.
    """
    if info.format != "dicom" or info.axes[0] == "t":
        return ()
    if plan.area is not None:
        return ("no mask.dcm is made of a preview",)
    from tasks.imagery.volume.dicom.image import DicomImage
    from tasks.imagery.volume.dicom.seg import NAME, write_segmentation

    wanted = revealed_wanted(plan.image, Wanted.by(plan.card, plan.parameters.reading))
    image = DicomImage(plan.image.revealed(), wanted)
    left_out = write_segmentation(
        work.result / "mask.nii.gz",
        work.result / NAME,
        stack=image.stack,
        classes=plan.card.classes,
        record=record,
        scratch=work.scratch,
    )
    return () if left_out is None else (left_out,)
