"""The ``segflow`` command."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from flows.commands import batch, data, demo, evaluate, gpu_check, label, models, plan, run, train

app = typer.Typer(
    name="segflow",
    help="Segment images that are too large, or too many: tiled, exact, resumable, measured.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("run")(run.run)
app.command("label")(label.label)
app.command("plan")(plan.plan)
app.command("batch")(batch.batch)
app.command("items")(batch.items)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("gpu-check")(gpu_check.gpu_check)
app.add_typer(models.app, name="models")
app.add_typer(demo.app, name="demo")
app.add_typer(data.app, name="data")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("segflow"))
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


def main() -> None:
    """Entry point; exit codes as documented in the README."""
    app()


if __name__ == "__main__":
    main()
