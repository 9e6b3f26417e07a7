"""``segflow models list``: what bundles come with segflow."""

from __future__ import annotations

import json

import typer

from flows.commands.models.options import Debug, Json


def list_models(as_json: Json = False, debug: Debug = False) -> None:
    """List the shipped bundles."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from flows.commands.outcome import reported
    from segmodels.bundles.bundle import load_bundle, shipped_bundles
    from segmodels.methods.names import CLASSICAL

    with reported(debug=debug, as_json=as_json):
        cards = [load_bundle(name).card for name in shipped_bundles()]
    if as_json:
        typer.echo(
            json.dumps(
                [
                    {
                        "name": c.name,
                        "version": c.version,
                        "description": c.description,
                        "ndims": list(c.ndims),
                        "channels": [ch.name for ch in c.channels],
                        "classes": [k.name for k in c.classes],
                    }
                    for c in cards
                ]
            )
        )
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("bundle", "axes", "channels", "classes", "what it does"):
        table.add_column(heading)
    for c in cards:
        axes = "/".join(f"{n}-D" for n in c.ndims)
        channels, classes = ", ".join(ch.name for ch in c.channels), ", ".join(k.name for k in c.classes)
        table.add_row(*map(escape, (c.name, axes, channels, classes, c.description)))
    Console().print(table)
    Console().print(
        f"\nMethods for any image, without training: {', '.join(CLASSICAL)}", highlight=False, markup=False
    )
