"""``segflow models ensemble``: several bundles averaged in one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.models.options import Debug, Json


def ensemble(
    models: Annotated[list[str], typer.Argument(help="Two bundles or more, in the order of the average.")],
    out: Annotated[Path, typer.Option(help="The new bundle's folder.")],
    name: Annotated[
        str | None, typer.Option(help="Its name; by default the folder's.", show_default=False)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is there.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Average several models: one bundle that holds them all and gives the mean of their probabilities."""
    from flows.commands.outcome import print_json, reported
    from flows.environment import prepare_environment
    from segmodels.bundles.ensemble import write_ensemble
    from segmodels.importing.wishes import bundle_name

    prepare_environment()
    with reported(debug=debug, as_json=as_json):
        made = write_ensemble(out, models, name=bundle_name(name or out.name), overwrite=overwrite)
    if as_json:
        print_json({"status": "done", "path": str(made.path), "digest": made.digest})
        return
    typer.echo(f"{made.card.name}: {made.card.description} Written: {made.path}")
