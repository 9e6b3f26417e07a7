"""``segflow models compress``: a smaller bundle, with what it lost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.models.options import Debug, Json


def compress(
    model: Annotated[str, typer.Argument(help="A bundle's folder or a shipped bundle's name.")],
    out: Annotated[Path, typer.Option(help="The new bundle's folder.")],
    to: Annotated[
        str | None, typer.Option(help="bf16 or int8, for OpenVINO on CPUs.", show_default=False)
    ] = None,
    prune: Annotated[
        float, typer.Option(help="Share of each kernel's weights to set to 0, as 0.5: smaller, not faster.")
    ] = 0.0,
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(help="Images that int8 takes its ranges from; the loss is measured on them too."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Its name.", show_default=False)] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is there.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a smaller bundle (bf16, int8, pruned) and write what it loses into its card."""
    from flows.commands.outcome import print_json, reported
    from flows.environment import prepare_environment
    from segmodels.bundles.bundle import load_bundle
    from segmodels.compressing.compress import compress_bundle
    from segmodels.importing.draft import check_channels
    from segmodels.importing.importer import middle_input
    from tasks.planning.like import like_image

    prepare_environment()
    with reported(debug=debug, as_json=as_json):
        card = load_bundle(model).card
        above = tuple(v for n in card.normalise if (v := getattr(n, "foreground_above", None)) is not None)
        tiles = []
        for path in calibrate or []:
            with like_image(path, channels=len(card.channels), thresholds=above) as image:
                check_channels(len(card.channels), image, card.name)
                tiles.append(middle_input(image, card, card.tile))
        made = compress_bundle(
            model, out, to=to, prune_share=prune, calibration=tiles, name=name, overwrite=overwrite
        )
    found = made.card.derived
    assert found is not None, "a compressed bundle says what it was made from"
    if as_json:
        print_json({"status": "done", "path": str(made.path), "digest": made.digest, **found.model_dump()})
        return
    typer.echo(f"{made.card.name}: {found.how}. Written: {made.path}")
    typer.echo(
        f"on {found.pixels} pixels {found.agreement:.3%} keep their class, probabilities move by {found.difference:.2g}"
    )
    speed = (
        "could not be measured" if found.speed is None else f"{found.speed:.2f} times the parent's in float32"
    )
    typer.echo(f"size {found.size:.0%} of the parent's; speed {speed}")
