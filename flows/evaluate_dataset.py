"""The Prefect flow ``evaluate-dataset``: a bundle over a data set's items, and their scores."""

# ruff: noqa: E402 - settings must be in place before Prefect reads them

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from flows.environment import prepare_environment

prepare_environment()

from prefect import flow
from prefect.runtime import flow_run
from pydantic import Field

from flows.embedded import use_embedded_server
from flows.evaluation import evaluate_bundle
from flows.image import Engine, Precision, Variants, segment_image
from flows.pipeline import already_done
from flows.score_artifacts import show_scores
from flows.steps import as_task
from tasks.evaluation.evaluate import Evaluated
from tasks.evaluation.write import SCORES
from tasks.planning.preflight import preflight
from tasks.planning.request import Request


def _run_name() -> str:
    asked = flow_run.parameters
    part = f" ({asked['split']})" if asked.get("split") else ""
    return f"{Path(str(asked['model'])).name} on {Path(str(asked['dataset'])).name}{part}"


use_embedded_server()


@flow(name="evaluate-dataset", flow_run_name=_run_name, persist_result=False)
def evaluate_dataset(
    dataset: Annotated[Path, Field(description="A data set's folder.")],
    model: Annotated[str, Field(description="A bundle's folder, or the name of a shipped bundle.")],
    out: Annotated[Path, Field(description="Output folder; each item's run goes to out/runs.")],
    split: Annotated[
        Literal["train", "val", "test"] | None, Field(description="Only this split; by default all items.")
    ] = None,
    ignore: Annotated[
        list[int] | None, Field(description="Codes of the truth that count for nothing.")
    ] = None,
    surfaces: Annotated[
        bool | None, Field(description="Whether to measure surface distances; by default of volumes.")
    ] = None,
    tolerance: Annotated[float, Field(description="Of the surface Dice, in mm or m.", ge=0)] = 2.0,
    resamples: Annotated[int, Field(description="Draws of the bootstrap.", ge=100)] = 2000,
    threads: Annotated[int | None, Field(description="Windows read at once.", ge=1)] = None,
    workers: Annotated[int, Field(description="Blocks computed at once.", ge=1, le=32)] = 2,
    engine: Annotated[Engine, Field(description="What runs the model.")] = "auto",
    precision: Annotated[Precision, Field(description="Arithmetic of the model.")] = "auto",
    variants: Annotated[Variants, Field(description="Average each tile over its mirror images.")] = "none",
    command: Annotated[str, Field(description="How to repeat it, for the record.")] = "",
) -> Evaluated:
    """Segments every item that has truth, scores all of them, writes tables, picture and page.

    Items that an earlier evaluation finished are not segmented again.

    Raises:
        SegflowError, ModelError: One sentence with the remedy.
    """
    evaluated = evaluate_bundle(
        dataset=dataset,
        model=model,
        out=out,
        run=_segment,
        split=split,
        ignore=ignore,
        surfaces=surfaces,
        tolerance=tolerance,
        resamples=resamples,
        threads=threads,
        workers=workers,
        engine=engine,
        precision=precision,
        variants=variants,
        command=command,
        call=as_task,
    )
    show_scores(out / SCORES, pictures={"confusion": out / "confusion.png"}, report=out / "report.html")
    return evaluated


def _segment(request: Request, options: dict[str, Any]) -> None:
    """A flow run of its own, unless the result is there."""
    if already_done(request) is None:
        preflight(request)
        segment_image(**options)
