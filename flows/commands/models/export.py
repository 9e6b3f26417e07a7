"""``segflow models export``: a bundle's model as a file of another library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.models.options import Debug, Json


def export(
    model: Annotated[str, typer.Argument(help="A bundle's folder or a shipped bundle's name.")],
    to: Annotated[str, typer.Option(help="onnx, savedmodel or openvino.")],
    out: Annotated[
        Path, typer.Option(help="A file that ends in .onnx or .xml, or a new folder for a SavedModel.")
    ],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Export a bundle's model to ONNX, SavedModel or OpenVINO, proved on its golden input."""
    from dataclasses import asdict

    from flows.commands.outcome import print_json, reported
    from flows.environment import prepare_environment
    from segmodels.bundles.bundle import load_bundle
    from segmodels.exporting.export import export_bundle
    from segmodels.importing.draft import describe

    prepare_environment()
    with reported(debug=debug, as_json=as_json):
        made = export_bundle(model, to=to, out=out)
        card = load_bundle(model).card
    if as_json:
        print_json({"status": "done", **asdict(made), "path": str(made.path)})
        return
    typer.echo(f"written: {made.path}, which takes {made.input} and gives logits")
    typer.echo(
        f"golden input: {made.classes:.2%} of the classes agree, the largest difference is {made.worst:.2g}"
    )
    typer.echo(f"normalise what it takes as the card does: {describe(card.normalise)}")
