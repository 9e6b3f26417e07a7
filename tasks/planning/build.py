"""From a request to the plan object: what ``plan`` shows is what ``run`` executes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segmodels.bundles.bundle import Bundle, load_bundle
from segmodels.engines.base import Engine
from segmodels.engines.choosing import candidates
from segmodels.errors import EngineError
from tasks.blocks.session import engine_for
from tasks.errors import SegflowError
from tasks.imagery.protocol import ImageInfo
from tasks.planning.make import make_plan
from tasks.planning.plan import Plan
from tasks.planning.preflight import drop_scratch, open_input
from tasks.planning.preview import find_area
from tasks.planning.request import Request
from tasks.planning.whole import method_of
from tasks.publishing.digests import input_digest


@dataclass(frozen=True)
class Built:
    """A plan with what was opened to make it.

    Attributes:
        plan: Complete, with the engine's name.
        engine: Opened and verified for the plan's batch and tile.
        info: The image's header.
    """

    plan: Plan
    engine: Engine
    info: ImageInfo


def build_plan(request: Request, *, folder: Path | None = None) -> Built:
    """Opens the image, lays out the work, reads the statistics, opens the engine.

    Args:
        folder: Whose disk is looked at; by default where the request keeps its work.

    Raises:
        InputError: The image, or its combination with the model, is refused.
        ModelError: The bundle or the engine is refused; only after the image was accepted.
        OutputError: The output folder cannot be written.
    """
    bundle = load_bundle(request.model)
    digest = input_digest(request.image)
    try:
        image = open_input(request, bundle)
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
            memory=request.memory,
            engine=_engine_name(bundle, request.parameters.engine),
            server=request.server,
            processes=request.processes,
            folder=folder or request.work().root,
            area=find_area(request, image.info),
            method=method_of(bundle),
        )
    except SegflowError:
        drop_scratch(request)
        raise
    image.close()
    engine = engine_for(plan)
    named = {"engine": engine.name, "precision": engine.precision, "library": engine.library}
    return Built(plan.model_copy(update=named), engine, image.info)


def _engine_name(bundle: Bundle, asked: str) -> str:
    """What will most likely run the model; one that cannot is refused later, once the image was accepted."""
    try:
        return candidates(bundle, asked)[0][0].engine
    except (EngineError, IndexError):
        return asked
