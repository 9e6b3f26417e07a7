"""The coarse stage of a request, and the region that it has left for the fine one, if it has run."""

from __future__ import annotations

from pathlib import Path

from segmodels.bundles.bundle import Bundle, load_bundle
from segmodels.bundles.stages import Stages, stages_of
from tasks.coarse.asked import Coarse, coarse_of
from tasks.errors import SegflowError
from tasks.imagery.protocol import ImageInfo
from tasks.planning.preflight import drop_scratch, open_input
from tasks.planning.region import Region, find_region
from tasks.planning.request import Request
from tasks.previews.area import find_area
from tasks.tiling.area import Area


def region_for(
    root: Path,
    request: Request,
    bundle: Bundle,
    stages: Stages,
    *,
    info: ImageInfo,
    area: Area | None,
    image_digest: str,
) -> Region | None:
    """What the coarse stage left in an item's work folder for exactly this request.

    Raises:
        InputError: The image does not fit the fine stage.
    """
    coarse = coarse_of(request, bundle, stages, info=info, area=area, image_digest=image_digest)
    return held_region(root, coarse)


def held_region(root: Path, coarse: Coarse) -> Region | None:
    """What a coarse stage left in an item's work folder."""
    return find_region(
        root, image_digest=coarse.image_digest, bundle_digest=coarse.bundle_digest, asked=coarse.asked
    )


def find_coarse(request: Request) -> Coarse | None:
    """The coarse stage of a request, None for a bundle that has one stage.

    Raises:
        InputError: The image, or its combination with the fine stage, is refused.
        ModelError: The bundle is refused.
        OutputError: The output folder cannot be written.
    """
    bundle = load_bundle(request.model)
    stages = stages_of(bundle)
    if stages is None:
        return None
    digest = request.image_digest()
    try:
        image = open_input(request, bundle)
        image.close()
        area = find_area(request, image.info)
        return coarse_of(request, bundle, stages, info=image.info, area=area, image_digest=digest)
    except SegflowError:
        drop_scratch(request)
        raise
