"""From a request to the plan object: what ``plan`` shows is what ``run`` executes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from segmodels.bundles.bundle import Bundle, load_bundle
from segmodels.bundles.stages import stages_of
from segmodels.engines.base import Engine
from segmodels.engines.choosing import candidates
from segmodels.errors import EngineError
from tasks.blocks.session import engine_for
from tasks.coarse.price import beside_bytes, means_bytes, with_coarse
from tasks.coarse.region_of import region_for
from tasks.errors import SegflowError
from tasks.imagery.protocol import ImageInfo
from tasks.planning.begun import Begun, find_begun
from tasks.planning.make import make_plan
from tasks.planning.plan import Plan
from tasks.planning.preflight import drop_scratch, open_input
from tasks.planning.region import CoarseCost
from tasks.planning.request import Request
from tasks.planning.whole import method_of
from tasks.previews.area import find_area
from tasks.tiling.area import Area

logger = logging.getLogger(__name__)


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


def build_plan(request: Request, *, folder: Path | None = None, cost: CoarseCost | None = None) -> Built:
    """Opens the image, lays out the work, reads the statistics, opens the engine.

    Args:
        folder: Whose disk is looked at; by default where the request keeps its work.
        cost: Of two stages, what the coarse one takes, where it has left no region yet.

    Raises:
        InputError: The image, or its combination with the model, is refused.
        ModelError: The bundle or the engine is refused; only after the image was accepted.
        OutputError: The output folder cannot be written.
    """
    bundle = load_bundle(request.model)
    digest = request.image_digest()
    root = folder or request.work().root
    stages, region = stages_of(bundle), None
    try:
        image = open_input(request, bundle)
        area = find_area(request, image.info)
        if stages is not None:
            region = region_for(
                root, request, bundle, stages, info=image.info, area=area, image_digest=digest
            )
            cost = region.cost if region is not None else cost
        begun = None if request.force else _begun(root, request, bundle, digest, area)
        engine_name = begun.plan.engine if begun else _engine_name(bundle, request.parameters.engine)
        beside = beside_bytes(cost, engine=engine_name, info=image.info, processes=request.processes)
        beside += means_bytes(request.parameters, bundle.card, workers=request.workers)
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
            memory=None if request.memory is None else max(1, request.memory - beside),
            engine=engine_name,
            server=request.server,
            processes=request.processes,
            folder=root,
            area=area,
            keep=begun.plan.grid if begun else None,
            method=method_of(bundle),
            probabilities=request.outputs.probabilities,
        )
    except SegflowError:
        drop_scratch(request)
        raise
    image.close()
    means = means_bytes(plan.parameters, plan.card, workers=plan.workers)
    plan = plan.model_copy(update={"peak_memory_bytes": plan.peak_memory_bytes + means})
    engine = (begun and _same_engine(plan, begun)) or engine_for(plan)
    named = {"engine": engine.name, "precision": engine.precision, "library": engine.library}
    plan = plan.model_copy(update=named)
    if cost is not None:
        plan = with_coarse(plan, cost, region, processes=request.processes)
    return Built(plan, engine, image.info)


def _begun(root: Path, request: Request, bundle: Bundle, digest: str, area: Area | None) -> Begun | None:
    """The unfinished run that this one resumes, unless its engine cannot be meant any more."""
    asked = request.parameters
    begun = find_begun(root, image_digest=digest, bundle_digest=bundle.digest, parameters=asked, area=area)
    if begun is None:
        return None
    try:
        able = {c.engine for cs in candidates(bundle, asked.engine, asked.precision) for c in cs}
    except EngineError:
        return None
    return begun if begun.plan.engine in able else None


def _same_engine(plan: Plan, begun: Begun) -> Engine | None:
    """The engine, precision and library that an unfinished run began with, if this machine has them yet."""
    named = {"engine": begun.plan.engine, "precision": begun.plan.precision}
    try:
        engine = engine_for(plan.model_copy(update=named))
    except EngineError as error:
        reason = str(error)
    else:
        if engine.library == begun.plan.library:
            return engine
        reason = f"here is {engine.library}"
    logger.warning(
        "the unfinished run of %s began on %s, which cannot go on (%s): its finished blocks (%d) are computed again",
        plan.item,
        begun.plan.library,
        reason,
        begun.blocks,
    )
    return None


def _engine_name(bundle: Bundle, asked: str) -> str:
    """What will most likely run the model; one that cannot is refused later, once the image was accepted."""
    try:
        return candidates(bundle, asked)[0][0].engine
    except (EngineError, IndexError):
        return asked
