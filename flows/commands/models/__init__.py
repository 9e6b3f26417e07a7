"""``segflow models``: what bundles there are, what they are, whether they are whole, and making new ones."""

from __future__ import annotations

import typer

from flows.commands.models import (
    compress,
    ensemble,
    export,
    importing,
    listing,
    making,
    measure,
    show,
    two_stage,
    verify,
)

app = typer.Typer(help="List, show, verify and make model bundles.", no_args_is_help=True)
app.command("list")(listing.list_models)
app.command("show")(show.show)
app.command("verify")(verify.verify)
app.command("measure")(measure.measure)
app.command("make")(making.make)
app.command("postprocess")(making.postprocess)
app.command("import")(importing.import_model)
app.command("ensemble")(ensemble.ensemble)
app.command("two-stage")(two_stage.two_stage)
app.command("export")(export.export)
app.command("compress")(compress.compress)
