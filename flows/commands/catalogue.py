"""``segflow stac-collection`` and ``segflow bids-derivatives``: an output folder as one data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Argument(help="Output folder of earlier runs.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug logs.")]


def stac_collection(
    out: Out,
    title: Annotated[
        str | None, typer.Option(help="Of the collection; by default the folder's name.")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write collection.json over all STAC items of an output folder.

    Exit codes: 0 done, 3 no items, 1 anything else.
    """
    from flows.commands.outcome import print_json, reported
    from tasks.catalogue.stac import NAME, write_collection

    with reported(debug=debug, as_json=as_json):
        items = write_collection(out, title=title)
        if as_json:
            print_json({"status": "done", "collection": str(out / NAME), "items": items})
        else:
            typer.echo(f"done: {out / NAME}, {items} item{'s' * (items != 1)}")


def bids_derivatives(out: Out, as_json: AsJson = False, debug: Debug = False) -> None:
    """Give the masks of BIDS-named volumes their names in derivatives/segflow, valid under the BIDS validator.

    Exit codes: 0 done, 3 no such masks, 1 anything else.
    """
    from flows.commands.outcome import print_json, reported
    from tasks.catalogue.bids import FOLDER, write_derivatives

    with reported(debug=debug, as_json=as_json):
        masks = write_derivatives(out)
        if as_json:
            print_json({"status": "done", "dataset": str(out / FOLDER), "masks": masks})
        else:
            typer.echo(f"done: {out / FOLDER}, {masks} mask{'s' * (masks != 1)}")
