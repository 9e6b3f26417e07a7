"""Flat parameters, as the command line and the orchestration UI give them, made a request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from flows.runner_names import DASK, THREADS, absolute_model, scheduler_address
from segmodels.engines.variants import Variants
from tasks.errors import UsageError
from tasks.imagery.source import Source
from tasks.imagery.validity.asked import absolute_rule
from tasks.imagery.wanted import Reading, Units
from tasks.planning.amount import parse_bytes
from tasks.planning.named import resolve_model, settled_spacing
from tasks.planning.outputs import Outputs, Probabilities, Vectors
from tasks.planning.plan import Parameters, Spacing
from tasks.planning.request import Request
from tasks.previews.asked import area_parameters, preview_suffix
from tasks.privacy.keys import look_up
from tasks.tiling.weights import Blend
from tasks.work import item_id


def make_request(
    *,
    image: str | Path,
    model: str,
    out: Path,
    item: str | None = None,
    tile: list[int] | None = None,
    overlap: float | None = None,
    block: int | None = None,
    workers: int = 2,
    memory: str | int | None = None,
    blend: Blend | None = None,
    cpu_fallback: bool = False,
    server: bool = True,
    runner: str = "threads",
    engine: str = "auto",
    precision: str = "auto",
    variants: Variants = "none",
    verify_content: bool = False,
    spacing: Spacing = "card",
    force: bool = False,
    window: str | None = None,
    aoi: Path | None = None,
    more: Sequence[str] = (),
    bands: str | None = None,
    valid: Sequence[str] = (),
    units: Units = "card",
    layer: str | None = None,
    frame: int | None = None,
    fill_missing: bool = False,
    vectors: Sequence[Vectors] = (),
    simplify: float = 0,
    min_size: int = 1,
    probabilities: Probabilities = "none",
    private: bool | None = None,
    command: str = "",
) -> Request:
    """Builds a request; paths are taken as given, but made absolute for the workers of a cluster.

    Raises:
        UsageError: An item name, an overlap, an area, an amount of memory or a runner that cannot be used.
    """
    scheduler_address(runner)
    source = Source.parse([str(image), *more])
    if source.private and aoi is None:
        held = look_up(source.only.uri).aoi
        aoi = None if held is None else Path(held)
    if runner != THREADS:
        source, out, model = source.absolute(), out.absolute(), absolute_model(model)
        aoi = None if aoi is None else aoi.absolute()
    if overlap is not None and not 0 <= overlap < math.inf:
        raise UsageError(f"--overlap {overlap:g} is not a size: give a fraction below 1, or pixels")
    reading = Reading(
        bands=tuple(b.strip() for b in bands.split(",")) if bands else (),
        valid=tuple(valid if runner == THREADS else map(absolute_rule, valid)),
        units=units,
        layer=layer,
        frame=frame,
        missing=fill_missing,
    )
    model = resolve_model(model, source, reading=reading)
    area = area_parameters(window=window, aoi=aoi)
    parameters = Parameters(
        tile=tuple(tile) if tile else None,
        overlap=overlap,
        engine=engine,
        precision=precision,
        blend=blend,
        cpu_fallback=cpu_fallback,
        variants=variants,
        reading=reading,
        spacing=settled_spacing(spacing, model),
        **area,
    )
    return Request(
        image=source,
        model=model,
        out=out,
        item=item_id(source, name=item) + (preview_suffix(**area) if item is None else ""),
        parameters=parameters,
        block=block,
        workers=workers,
        server=server,
        processes=None if runner == THREADS else workers if runner == DASK else 0,
        memory=parse_bytes(memory) if isinstance(memory, str) else memory,
        verify_content=verify_content,
        force=force,
        aoi=aoi,
        outputs=Outputs(
            vectors=tuple(vectors),
            simplify=simplify,
            min_size=min_size,
            probabilities=probabilities,
            private=private,
        ),
        command=command,
    )
