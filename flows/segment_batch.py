"""The Prefect flow ``segment-batch``: many images, each a ``segment-image`` run below it."""

# ruff: noqa: E402 - settings must be in place before Prefect reads them

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from flows.environment import prepare_environment

prepare_environment()

from prefect import flow
from prefect.runtime import flow_run
from pydantic import Field

from flows.batch import make_batch, run_batch
from flows.embedded import use_embedded_server
from flows.image import segment_image
from flows.pipeline import RunResult
from tasks.items.outcomes import Outcome
from tasks.planning.preflight import preflight
from tasks.planning.request import Request


def _run_name() -> str:
    asked = flow_run.parameters
    return f"{Path(str(asked['source'])).name} with {Path(str(asked['model'])).name}"


use_embedded_server()


@flow(name="segment-batch", flow_run_name=_run_name, persist_result=False)
def segment_batch(
    source: Annotated[
        str,
        Field(description="A glob, a folder, a BIDS dataset, an nnU-Net folder or a STAC ItemCollection."),
    ],
    model: Annotated[str, Field(description="A bundle's folder, or the name of a shipped bundle.")],
    out: Annotated[Path, Field(description="Output folder; each item's results go to out/item.")],
    match: Annotated[
        str | None, Field(description="Only items whose name this pattern (* and ?) fits.")
    ] = None,
    limit: Annotated[int | None, Field(description="Only so many items, the first.", ge=1)] = None,
    options: Annotated[
        dict[str, Any] | None, Field(description="Further parameters of segment-image, the same for all.")
    ] = None,
) -> tuple[Outcome, ...]:
    """Segments every item of a source; items that are done already are left as they are, in seconds.

    An item that is refused or fails costs itself alone; ``out/batch.json`` says why.

    Raises:
        SegflowError, ModelError: There is nothing to do, the model is refused, or the output cannot be written.
    """
    batch = make_batch(
        source, model=model, out=out, match=match, limit=limit, **{"private": None, **(options or {})}
    )
    return run_batch(batch, _run)


def _run(request: Request, options: dict[str, Any]) -> RunResult:
    preflight(request)  # what is refused needs no run of its own
    return segment_image(**options)
