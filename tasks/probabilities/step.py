"""The probabilities step: a file of every class's probability beside the mask."""

from __future__ import annotations

from typing import Any

from tasks.ahead import one_ahead
from tasks.errors import UsageError
from tasks.imagery.formats import format_named
from tasks.imagery.protocol import ImageInfo
from tasks.planning.outputs import Outputs
from tasks.planning.plan import Plan
from tasks.previews.area import open_seen
from tasks.work import WorkFolder

NAMES = {"cog": "probabilities.tif", "nifti": "probabilities.nii.gz"}


def check_probabilities(outputs: Outputs, info: ImageInfo) -> None:
    """Refuses probabilities that an image's format cannot hold.

    Raises:
        UsageError: 16-bit floats in NIfTI, or a format without a file for probabilities.
    """
    if outputs.probabilities == "none":
        return
    form = format_named(info.format).mask
    if form not in NAMES:
        raise UsageError(
            f"there is no file of probabilities for {format_named(info.format).title} images: leave "
            "--probabilities out"
        )
    if form == "nifti" and outputs.probabilities == "float16":
        raise UsageError("NIfTI has no 16-bit floats: ask for --probabilities uint8 (254 steps)")


def probabilities_item(work: WorkFolder) -> dict[str, Any]:
    """Writes the probabilities of a run whose blocks are finished into its result folder.

    Returns:
        For the record.

    Raises:
        OutputError: The file cannot be written.
    """
    from tasks.probabilities.bands import probability_bands
    from tasks.probabilities.write import STEPS, CogProbabilities, NiftiProbabilities, Writer, write_bands

    plan = Plan.load(work.plan)
    assert plan.probabilities != "none"
    image = open_seen(plan, scratch=work.scratch)
    info = image.info
    image.close()
    form = format_named(info.format).mask
    path = work.result / NAMES[form]
    names = [c.name for c in plan.card.classes]
    writer: Writer
    if form == "cog":
        writer = CogProbabilities(info, path, names=names, kind=plan.probabilities)
    else:
        writer = NiftiProbabilities(info, path, names=names)
    write_bands(writer, one_ahead(probability_bands(plan, work)))
    return {
        "file": path.name,
        "dtype": plan.probabilities,
        "scale": 1 / STEPS if plan.probabilities == "uint8" else 1,
        "bands": names,
        "codes": [c.code for c in plan.card.classes],
    }
