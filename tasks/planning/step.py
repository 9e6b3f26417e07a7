"""The plan step: from a request to a plan on disk, and what of it is done already."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segmodels.bundles.bundle import Bundle, load_bundle
from tasks.blocks.blockfile import is_finished
from tasks.blocks.session import engine_for
from tasks.errors import InputError
from tasks.files import writing
from tasks.imagery.open import open_image
from tasks.imagery.protocol import Image, ImageInfo
from tasks.planning.make import check_match, make_plan, tile_sizes
from tasks.planning.request import Request
from tasks.publishing.digests import input_digest
from tasks.publishing.ownership import owned
from tasks.publishing.publish import check_item_free, is_done
from tasks.work import WorkFolder


@dataclass(frozen=True)
class Planned:
    """A plan on disk.

    Attributes:
        work: Folders of the run.
        todo: Numbers of the blocks still to be computed.
        blocks: Blocks in all; the others are reused.
        tiles: Tiles in all.
        info: The image's header.
    """

    work: WorkFolder
    todo: tuple[int, ...]
    blocks: int
    tiles: int
    info: ImageInfo


def find_done(request: Request) -> dict[str, Any] | None:
    """The published record, if exactly this result exists already.

    Raises:
        InputError: The image is missing, or its item id belongs to another input.
        ModelError: The bundle is refused.
    """
    _check_file(request.image)
    bundle = load_bundle(request.model)
    digest = input_digest(request.image)
    final = request.work().final
    check_item_free(final, item=request.item, image=request.image, digest=digest)
    return is_done(
        final,
        image_digest=digest,
        bundle_digest=bundle.digest,
        parameters_digest=request.parameters.digest(),
    )


def _check_file(path: Path) -> None:
    if not path.exists():
        raise InputError(f"{path} does not exist: check the path")
    if not path.is_file():
        raise InputError(f"{path} is not a file: give one GeoTIFF or NIfTI image")


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
        image = _open(request, bundle)
        image.close()
        tile_sizes(bundle.card, check_match(image.info, bundle.card), request.parameters)


def _open(request: Request, bundle: Bundle) -> Image:
    """Opens the image; a refused one leaves no inflated copy."""
    scratch = request.work().scratch
    with writing(scratch):
        scratch.mkdir(parents=True, exist_ok=True)
    try:
        return open_image(request.image, scratch=scratch, channels=len(bundle.card.channels))
    except InputError:
        shutil.rmtree(scratch)
        raise


def plan_item(request: Request) -> Planned:
    """Plans an item and looks up which of its blocks are finished.

    Raises:
        InputError: The image, or its combination with the model, is refused.
        ModelError: The bundle or the engine is refused; only after the image was accepted.
        OutputError: The output folder cannot be written.
    """
    bundle = load_bundle(request.model)
    digest = input_digest(request.image)
    image = _open(request, bundle)
    try:
        plan = make_plan(
            image,
            item=request.item,
            image_digest=digest,
            bundle=bundle.path,
            bundle_digest=bundle.digest,
            card=bundle.card,
            parameters=request.parameters,
            block=request.block,
            workers=request.workers,
        )
    finally:
        image.close()
    engine = engine_for(plan)
    plan = plan.model_copy(
        update={"engine": engine.name, "precision": engine.precision, "library": engine.library}
    )
    work = request.work(plan.key())
    if request.force and work.run.exists():
        shutil.rmtree(work.run)
    with writing(work.blocks):
        work.blocks.mkdir(parents=True, exist_ok=True)
    plan.write(work.plan)
    todo = tuple(n for n in range(plan.grid.block_count) if not is_finished(work.blocks, n))
    return Planned(work, todo, plan.grid.block_count, plan.grid.tile_count, image.info)
