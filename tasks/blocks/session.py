"""What a process keeps open between blocks: one engine, one image."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from segmodels.bundles.bundle import Bundle, load_bundle
from segmodels.bundles.stages import answering
from segmodels.engines.base import Engine
from segmodels.engines.choosing import Choice, choose
from segmodels.engines.hardware import ON_GPU, cpu_bfloat16
from segmodels.engines.opening import open_engine
from segmodels.engines.variants import Variants, with_variants
from segmodels.errors import BundleError, EngineError
from segmodels.methods.base import Fitted
from segmodels.methods.fitting import with_fitted
from tasks.blocks.reading import block_windows
from tasks.blocks.stepdown import Step, SteppingEngine
from tasks.errors import InputError
from tasks.imagery.protocol import Image
from tasks.imagery.views.shared import SharedImage
from tasks.planning.opened import open_planned
from tasks.planning.plan import Plan

_opening = threading.Lock()


@dataclass(frozen=True)
class Session:
    """A plan with its image and engine, opened once per process."""

    plan: Plan
    image: Image
    engine: Engine


def open_session(plan_path: Path, *, scratch: Path) -> Session:
    """Opens what a plan needs, or gives what this process has open already.

    Raises:
        ModelError: The bundle changed since the plan, or this process cannot run it as planned.
        InputError: The image changed or cannot be opened.
    """
    with _opening:
        return _session(plan_path, plan_path.stat().st_mtime_ns, scratch)


def close_sessions() -> None:
    """Lets go of the images that blocks had open; the engine stays loaded for the next item."""
    with _opening:
        _session.cache_clear()


def engine_for(plan: Plan) -> Engine:
    """The engine that a plan names, or that its parameters mean on this machine; verified on the golden input.

    Raises:
        ModelError: There is none, or the bundle changed since the plan.
    """
    with _opening:
        return _engine_for(plan)


def _engine_for(plan: Plan) -> Engine:
    asked, engine, precision = plan.parameters, plan.engine, plan.precision
    if not engine:
        choice = _choice(
            plan.bundle, plan.bundle_digest, asked.engine, asked.precision, plan.batch, plan.tile
        )
        engine, precision = choice.engine, choice.precision
    return _engine(
        plan.bundle,
        plan.bundle_digest,
        engine,
        precision,
        plan.batch,
        plan.tile,
        asked.variants,
        asked.cpu_fallback,
        plan.callers,
        plan.fitted,
    )


@lru_cache(maxsize=4)
def _session(plan_path: Path, _mtime_ns: int, scratch: Path) -> Session:
    plan = Plan.load(plan_path)
    image = open_planned(plan, scratch=scratch)
    if plan.kept_bytes:
        windows = block_windows(plan.grid, padding=plan.padding, area=plan.tiled_area, region=plan.unread)
        image = SharedImage(image, windows, limit=plan.kept_bytes)
    if image.info.shape != plan.grid.shape:
        raise InputError(f"{plan.image} changed while it was being segmented: run again")
    engine = _engine_for(plan)
    have, want = (engine.library, engine.precision), (plan.library, plan.precision)
    if have != want:
        raise EngineError(
            f"this process runs {plan.card.name} on {have[0]} at {have[1]}, but the run is planned for "
            f"{want[0]} at {want[1]}: install the same versions, or give --engine and --precision"
        )
    return Session(plan, image, engine)


@lru_cache(maxsize=16)
def _choice(
    bundle: Path, digest: str, engine: str, precision: str, batch: int, tile: tuple[int, ...]
) -> Choice:
    return choose(_checked(bundle, digest), engine=engine, precision=precision, batch=batch, tile=tile)


@lru_cache(maxsize=2)
def _engine(
    bundle: Path,
    digest: str,
    engine: str,
    precision: str,
    batch: int,
    tile: tuple[int, ...],
    variants: Variants,
    cpu_fallback: bool,
    callers: int,
    fitted: Fitted | None = None,
) -> Engine:
    loaded = _checked(bundle, digest)
    model = answering(loaded)
    sigmoid = loaded.card.activation == "sigmoid"

    def step(says: str, size: int, name: str, exact: str = precision) -> Step:
        def opened() -> Engine:
            one = open_engine(loaded, engine=name, precision=exact, batch=size, tile=tile, callers=callers)
            return with_variants(with_fitted(one, model, fitted), variants, tile=tile, sigmoid=sigmoid)

        return Step(says, size, opened)

    steps = [step(f"in batches of {batch}", batch, engine)]
    if batch > 1:
        steps.append(step("tile by tile", 1, engine))
    if cpu_fallback and engine in ON_GPU:
        # The one engine here that never touches a GPU, whatever the others have loaded.
        able = precision if cpu_bfloat16() else "float32"
        steps.append(step("tile by tile on the CPU", 1, "openvino", able))
    return SteppingEngine(steps)


def _checked(bundle: Path, digest: str) -> Bundle:
    loaded = load_bundle(bundle)
    if loaded.digest != digest:
        raise BundleError(f"the bundle {bundle} changed while it was in use: run again")
    return loaded
