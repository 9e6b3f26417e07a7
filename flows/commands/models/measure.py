"""``segflow models measure``: how far a bundle's model looks."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.models.options import Debug, Json, by


def measure(
    model: Annotated[str, typer.Argument(help="A bundle's folder.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure how far a bundle's model looks, and write the radius into its card."""
    from flows.commands.outcome import print_json, reported
    from flows.environment import prepare_environment
    from segmodels.bundles.write import measure_bundle

    prepare_environment()
    with reported(debug=debug, as_json=as_json):
        bundle = measure_bundle(model)
    radius = bundle.card.receptive_radius or ()
    if as_json:
        print_json({"status": "done", "digest": bundle.digest, "receptive_radius": list(radius)})
        return
    typer.echo(f"{bundle.card.name}: 99 % of a changed pixel's effect stays within {by(radius)} pixels")
