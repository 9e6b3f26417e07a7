"""The Prefect flow ``train-model``: a configuration and a data set in, a bundle out."""

# ruff: noqa: E402 - settings must be in place before Prefect reads them

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from flows.environment import prepare_environment

prepare_environment()

from prefect import flow
from prefect.runtime import flow_run
from pydantic import Field

from flows.embedded import use_embedded_server
from flows.score_artifacts import TrainingArtifact, show_scores
from flows.steps import as_task
from flows.training import make_config, shown
from tasks.training.outcome import HELD_OUT, PAGE, TrainResult
from tasks.training.step import train_bundle


def _run_name() -> str:
    return f"train {Path(str(flow_run.parameters['config'])).stem}"


use_embedded_server()


@flow(name="train-model", flow_run_name=_run_name, persist_result=False)
def train_model(
    config: Annotated[str, Field(description="A YAML file, or the name of a shipped recipe.")],
    out: Annotated[Path, Field(description="Output folder; the bundle goes to out/name.")],
    dataset: Annotated[
        Path | None, Field(description="Folder of the data set, instead of the configuration's.")
    ] = None,
    score_test: Annotated[bool, Field(description="Score the test split at the end.")] = True,
    command: Annotated[str, Field(description="How to repeat the training, for the card.")] = "",
) -> TrainResult:
    """Verifies, trains, scores, and writes a bundle; goes on with what was interrupted.

    Raises:
        SegflowError, ModelError: One sentence with the remedy; no bundle is written.
    """
    read = make_config(config, dataset=dataset)
    result = train_bundle(
        read,
        out=out,
        progress=TrainingArtifact(f"training {read.name}", shown()),
        command=command,
        score_test=score_test,
        call=as_task,
    )
    if not result.already_done:
        folder = result.folder
        pictures = {"learning curves": folder / "curves.png", "confusion": folder / "confusion.png"}
        show_scores(folder / HELD_OUT, pictures=pictures, report=folder / PAGE)
    return result
