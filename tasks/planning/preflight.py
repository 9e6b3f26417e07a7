"""Before anything is started: is it done already, and can it work at all?"""

from __future__ import annotations

import shutil
from typing import Any

from segmodels.bundles.bundle import Bundle, load_bundle
from tasks.errors import InputError, SegflowError
from tasks.files import writing
from tasks.imagery.earth.globe import check_on_earth
from tasks.imagery.open import open_image
from tasks.imagery.protocol import Image
from tasks.imagery.views.coarsened import coarsened
from tasks.imagery.wanted import Wanted
from tasks.planning.make import check_match
from tasks.planning.request import Request
from tasks.planning.tiles import tile_sizes
from tasks.planning.whole import check_whole, method_of
from tasks.postprocess.decide import check_units
from tasks.previews.area import check_same_extent, find_area
from tasks.privacy.hiding import guarded
from tasks.probabilities.step import check_probabilities
from tasks.publishing.ownership import owned
from tasks.publishing.publish import check_item_free, is_done
from tasks.vectors.step import check_vectors


@guarded
def find_done(request: Request) -> dict[str, Any] | None:
    """The published record, if exactly this result exists already.

    Raises:
        InputError: The image is missing, or its item id belongs to another input.
        ModelError: The bundle is refused.
    """
    for path in request.image.paths:
        if not path.exists():
            raise InputError(f"{path} does not exist: check the path")
    bundle = load_bundle(request.model)
    digest = request.image_digest()
    final = request.work().final
    check_item_free(request.work(), image=request.image, digest=digest)
    check_same_extent(request, final)
    record = is_done(
        final,
        image_digest=digest,
        bundle_digest=bundle.digest,
        parameters_digest=request.parameters.digest(),
    )
    asked = request.outputs.probabilities
    if record is not None and asked not in ("none", (record.get("probabilities") or {}).get("dtype")):
        return None  # the blocks that knew them are gone
    return record


@guarded
def preflight(request: Request) -> None:
    """Refuses what can be refused from headers alone, before anything is started.

    Raises:
        InputError: The image cannot be opened, or does not fit the model.
        ModelError: The bundle is refused.
        UsageError: A tile or overlap that the model cannot take.
        OutputError: The output folder cannot be written.
        OwnedError: Another run is working on this item.
    """
    bundle = load_bundle(request.model)
    with owned(request.work().root, item=request.item):
        try:
            image = open_input(request, bundle)
            image.close()
            tile_sizes(bundle.card, check_match(image.info, bundle.card), request.parameters)
            check_on_earth(image.info)
            check_whole(bundle.card, method_of(bundle), request.parameters)
            check_units(bundle.card, image.info)
            find_area(request, image.info)
        except SegflowError:
            drop_scratch(request)
            raise


def open_input(request: Request, bundle: Bundle) -> Image:
    """Opens the image of a request, inflating it into its scratch folder if need be.

    Raises:
        InputError: It is refused, or cannot have the outputs that are asked for.
        OutputError: The output folder cannot be written.
    """
    scratch = request.work().scratch
    with writing(scratch):
        scratch.mkdir(parents=True, exist_ok=True)
    image = open_image(
        request.image, scratch=scratch, wanted=Wanted.by(bundle.card, request.parameters.reading)
    )
    try:
        check_vectors(request.outputs, image.info)
        check_probabilities(request.outputs, image.info)
    except SegflowError:
        image.close()
        raise
    return coarsened(image, request.parameters.coarsen)


def drop_scratch(request: Request) -> None:
    """Removes the inflated copy of an image that was refused."""
    shutil.rmtree(request.work().scratch, ignore_errors=True)
