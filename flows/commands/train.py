"""``segflow train``: a bundle from a configuration and a data set, or a first configuration from a data set."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from tasks.training.outcome import TrainResult


def train(
    config: Annotated[
        str | None,
        typer.Argument(help="A YAML file, or a recipe's name (nuclei, ct-organs).", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder of the bundle and its curves; with --auto, the YAML file.",
            show_default=False,
        ),
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option(help="Folder of the data set, instead of the configuration's.", show_default=False),
    ] = None,
    auto: Annotated[
        Path | None,
        typer.Option(
            "--auto",
            help="Look at this data set and write a configuration to read and edit; train nothing.",
            show_default=False,
        ),
    ] = None,
    memory: Annotated[str, typer.Option(help="With --auto: memory that the training may use.")] = "8GB",
    score_test: Annotated[
        bool,
        typer.Option(
            "--test/--no-test",
            help="Score the test split at the end; leave it out while you choose among trainings.",
        ),
    ] = True,
    direct: Annotated[
        bool, typer.Option("--direct", help="Run without Prefect, as plain functions.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on standard output.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug logs.")] = False,
) -> None:
    """Train a model and write it as a bundle; run again, an interrupted training goes on.

    Exit codes: 0 done or already done, 2 usage, 3 data set refused, 6 another process trains there,
    1 anything else.
    """
    from rich.console import Console

    from flows.commands.logs import set_up_logging
    from flows.commands.outcome import print_json, reported
    from flows.environment import prepare_environment

    prepare_environment()
    if not debug:
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    console = Console(stderr=True)
    set_up_logging(console, debug=debug)
    with reported(debug=debug, as_json=as_json):
        from tasks.errors import UsageError

        if (config is None) == (auto is None):
            raise UsageError("give either a configuration (a YAML file or a recipe's name) or --auto DATASET")
        if auto is not None:
            path = _plan(auto, out=out, memory=memory)
            if as_json:
                print_json({"status": "done", "config": str(path)})
            else:
                console.print(f"written: {path}; read and edit it, then: segflow train {path} --out DIR")
            return
        if out is None or config is None:
            raise UsageError("give --out, the folder of the bundle")
        result = _train(
            console, config, out=out, dataset=dataset, score_test=score_test, direct=direct, debug=debug
        )
        if as_json:
            print_json(result.as_json())
        else:
            _say(result, console)


def _train(
    console: Console,
    config: str,
    *,
    out: Path,
    dataset: Path | None,
    score_test: bool,
    direct: bool,
    debug: bool,
) -> TrainResult:
    from flows.training import displayed, make_config

    command = shlex.join(["segflow", *sys.argv[1:]])
    read = make_config(config, dataset=dataset)  # a mistake in it is said before anything starts
    with displayed(console) as progress:
        if direct:
            from tasks.training.step import train_bundle

            return train_bundle(read, out=out, progress=progress, command=command, score_test=score_test)
        from flows.embedded import quiet_server

        with quiet_server(debug=debug):
            from flows.train import train_model

            return train_model(config, out=out, dataset=dataset, score_test=score_test, command=command)


def _plan(dataset: Path, *, out: Path | None, memory: str) -> Path:
    """Writes the configuration that the data set suggests."""
    from tasks.errors import UsageError
    from tasks.files import atomic_write
    from tasks.planning.amount import parse_bytes
    from tasks.training.auto import draft_config

    path = out or Path("config.yaml")
    if path.exists():
        raise UsageError(f"{path} is there already; choose another --out, or remove it")
    text = draft_config(dataset, memory=parse_bytes(memory))
    with atomic_write(path) as stream:
        stream.write(text.encode())
    return path


def _say(result: TrainResult, console: Console) -> None:
    for name, value in result.scores.items():
        console.print(f"{name.replace('_', ' ')} {value}", highlight=False)
    if result.already_done:
        console.print(f"already done: {result.bundle}", highlight=False, soft_wrap=True)
        return
    resumed = f", resumed at step {result.resumed_at}" if result.resumed_at else ""
    console.print(
        f"{result.steps} steps in {result.minutes:.1f} min{resumed}: {result.bundle}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"report: {result.folder / 'report.html'}", highlight=False, soft_wrap=True)
