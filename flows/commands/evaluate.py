"""``segflow evaluate``: a bundle on a data set, or masks against truth."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.run import Engine, Precision, Variants

if TYPE_CHECKING:
    from rich.console import Console

    from tasks.evaluation.evaluate import Evaluated


def evaluate(
    dataset: Annotated[
        Path | None, typer.Argument(help="A data set's folder, with --model.", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="A bundle's folder or a shipped bundle's name.", show_default=False
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Only this split of the data set: train, val, test.")
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(help="Masks to score: a folder or a file; GeoTIFF, NIfTI, PNG.", show_default=False),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Truth of the same names as --masks.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Output folder.", show_default=False)] = ...,  # type: ignore[assignment]
    classes: Annotated[
        str | None,
        typer.Option(help='Classes of --masks as "0=background,1=water"; by default those found.'),
    ] = None,
    ignore: Annotated[
        list[int] | None, typer.Option(help="A code of the truth that counts for nothing; may be repeated.")
    ] = None,
    surfaces: Annotated[
        bool | None,
        typer.Option("--surfaces/--no-surfaces", help="HD95, ASSD, surface Dice; by default of volumes."),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Of the surface Dice: mm, metres of a projected raster, else pixels.", min=0)
    ] = 2.0,
    resamples: Annotated[
        int, typer.Option(help="Draws of the bootstrap for 95 % intervals.", min=100, max=100_000)
    ] = 2000,
    threads: Annotated[int | None, typer.Option(help="Windows read at once.", min=1, max=64)] = None,
    workers: Annotated[int, typer.Option(help="Blocks computed at once, with --model.", min=1, max=32)] = 2,
    engine: Annotated[Engine, typer.Option(help="What runs the model.")] = "auto",
    precision: Annotated[Precision, typer.Option(help="Arithmetic of the model.")] = "auto",
    variants: Annotated[Variants, typer.Option(help="Average each tile over its mirror images.")] = "none",
    direct: Annotated[bool, typer.Option("--direct", help="Without Prefect, as plain functions.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on standard output.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug logs.")] = False,
) -> None:
    """Score a model on a data set, or masks against truth: per class, per item and pooled.

    Exit codes: 0 done, 2 usage, 3 nothing could be scored or the model is refused, 4 some items could
    not be scored, 6 another run owns the output, 1 anything else.
    """
    from rich.console import Console

    from flows.commands.logs import set_up_logging
    from flows.commands.outcome import print_json, reported

    console = Console(stderr=True)
    set_up_logging(console, debug=debug)
    with reported(debug=debug, as_json=as_json):
        options: dict[str, Any] = {
            "out": out,
            "ignore": list(ignore or ()),
            "surfaces": surfaces,
            "tolerance": tolerance,
            "resamples": resamples,
            "threads": threads,
            "command": shlex.join(["segflow", *sys.argv[1:]]),
        }
        kind = _kind(dataset=dataset, model=model, split=split, masks=masks, truth=truth, classes=classes)
        if kind == "masks":
            from flows.evaluation import evaluate_masks

            assert masks is not None
            assert truth is not None
            result = evaluate_masks(masks, truth, classes=classes, **options)
        else:
            options |= {"dataset": dataset, "model": model, "split": split, "workers": workers}
            options |= {"engine": engine, "precision": precision, "variants": variants}
            result = _on_dataset(console, direct=direct, debug=debug, **options)
        if as_json:
            print_json(result.as_json())
        else:
            say(result, console)
        raise typer.Exit(result.exit_code)


def _kind(*, dataset: Any, model: Any, split: Any, masks: Any, truth: Any, classes: Any) -> str:
    """Which of both was asked for.

    Raises:
        UsageError: Neither, both, or half of one.
    """
    from tasks.errors import UsageError

    of_model, of_masks = (dataset, model, split), (masks, truth, classes)
    if masks is not None and truth is not None and of_model == (None, None, None):
        return "masks"
    if dataset is not None and model is not None and of_masks == (None, None, None):
        return "dataset"
    raise UsageError(
        "give a data set's folder with --model BUNDLE (and --split), or --masks FOLDER with --truth FOLDER "
        "(and --classes)"
    )


def _on_dataset(console: Console, *, direct: bool, debug: bool, **options: Any) -> Evaluated:
    from flows.environment import prepare_environment
    from flows.progress import shown

    if not debug:
        # What goes wrong is said once, by this command, not three times with Prefect's tracebacks.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    prepare_environment()
    with shown(console) as progress:
        if direct:
            from flows.evaluation import evaluate_bundle, plain_runs

            return evaluate_bundle(run=plain_runs(progress), **options)
        from flows.embedded import quiet_server

        with quiet_server(debug=debug):
            from flows.evaluate_dataset import evaluate_dataset

            return evaluate_dataset(**options)


def say(result: Evaluated, console: Console) -> None:
    """The result for a person."""
    from rich.table import Table

    for note in result.notes:
        console.print(f"note: {note}", style="yellow", highlight=False, markup=False)
    table = Table("class", "IoU", "Dice", box=None, pad_edge=False)
    for row in result.classes:
        table.add_row(str(row["class"]), _said(row["iou"]), _said(row["dice"]))
    table.add_row("mean", _said(result.overall["mean_iou"]), _said(result.overall["mean_dice"]), style="bold")
    console.print(table, highlight=False, markup=False)
    lost = f", {result.failed} could not be scored" if result.failed else ""
    line = f"{result.status}: {result.items} item{'s' * (result.items != 1)}{lost}: {result.out}"
    console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(f"open {result.out / 'report.html'}", highlight=False, markup=False, soft_wrap=True)


def _said(score: dict[str, float | None]) -> str:
    if score["value"] is None:
        return "–"
    ends = f" ({score['low']:.3f}–{score['high']:.3f})" if score["low"] is not None else ""
    return f"{score['value']:.4f}{ends}"
