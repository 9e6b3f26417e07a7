"""``segflow models verify``: whether a bundle is whole and an engine reproduces it."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.models.options import Debug, Json


def verify(
    model: Annotated[str, typer.Argument(help="A bundle's folder or a shipped bundle's name.")],
    engine: Annotated[str, typer.Option(help="Engine to check the golden input with.")] = "auto",
    precision: Annotated[str, typer.Option(help="Arithmetic of the engine.")] = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check a bundle's digests, and its golden input through an engine."""
    from flows.commands.outcome import print_json, reported
    from flows.environment import prepare_environment
    from segmodels.bundles.bundle import load_bundle
    from segmodels.bundles.stages import stages_of
    from segmodels.engines.opening import open_engine

    prepare_environment()
    with reported(debug=debug, as_json=as_json):
        bundle = load_bundle(model)
        tile = bundle.card.tile
        opened = open_engine(bundle, engine=engine, precision=precision, batch=1, tile=tile, verify=True)
        stages = stages_of(bundle)
        if stages is not None:
            open_engine(stages.coarse, batch=1, tile=stages.coarse.card.tile, verify=True)
    if as_json:
        print_json(
            {"status": "done", "digest": bundle.digest, "engine": opened.name, "precision": opened.precision}
        )
        return
    typer.echo(
        f"{bundle.card.name}: digests match; golden input agrees on {opened.library}, {opened.precision}"
    )
