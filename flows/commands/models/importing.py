"""``segflow models import``: somebody's own model becomes a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.models.options import Debug, Json

if TYPE_CHECKING:
    from segmodels.importing.importer import Imported


def import_model(
    model: Annotated[Path, typer.Argument(help="model.onnx or model.keras.")],
    like: Annotated[Path, typer.Option(help="An image of the kind that the model is for.")],
    expect: Annotated[
        Path | None,
        typer.Option(help="An .npz with 'input' and 'logits' of your own framework, to be reproduced."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The bundle's folder; by default ./NAME.", show_default=False)
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The bundle's name; by default the file's.", show_default=False)
    ] = None,
    classes: Annotated[str | None, typer.Option(help="Names of the classes, as background,water.")] = None,
    channels: Annotated[
        str | None, typer.Option(help="Names of the channels in the model's order, as red,green,blue.")
    ] = None,
    units: Annotated[
        str | None, typer.Option(help="Units of the channels, as HU: one for all, or one each.")
    ] = None,
    normalise: Annotated[
        str | None,
        typer.Option(
            help=(
                "What is done to values before the model: none, scale:OFFSET,DIVISOR, window:LOW,HIGH, zscore, "
                "percentile:LOW,HIGH or imagenet (0…255 in); one for all channels, or one each with ; between."
            )
        ),
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the weights.")] = None,
    tile: Annotated[
        str | None, typer.Option(help="Default tile, as 512 or 64,128,128.", show_default=False)
    ] = None,
    stride: Annotated[
        int | None, typer.Option(help="Total stride of the network; by default it is measured.", min=1)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is there.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a bundle of your own ONNX or Keras model, and check it against your own framework's logits.

    Exit codes: 0 done, 2 usage, 3 model or image refused, 1 anything else.
    """
    from flows.commands.outcome import print_json, reported
    from flows.commands.run import parse_tile
    from flows.environment import prepare_environment
    from segmodels.importing.importer import import_model as run
    from segmodels.importing.importer import peek_channels
    from segmodels.importing.wishes import Wishes, bundle_name, parse_normalise, split_names
    from tasks.planning.like import like_image

    prepare_environment()
    with reported(debug=debug, as_json=as_json):
        sizes = parse_tile(tile)
        wishes = Wishes(
            name=None if name is None else bundle_name(name),
            classes=split_names(classes, "--classes"),
            channels=split_names(channels, "--channels"),
            units=split_names(units, "--units"),
            normalise=None if normalise is None else parse_normalise(normalise),
            licence=licence,
            tile=None if sizes is None else tuple(sizes),
            stride=stride,
        )
        with like_image(like, channels=peek_channels(model)) as image:
            made = run(model, like=image, out=out, expect=expect, wishes=wishes, overwrite=overwrite)
    if as_json:
        print_json(_as_json(made))
    else:
        _say(made, like)


def _as_json(made: Imported) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "status": "done",
        "path": str(made.bundle.path),
        "digest": made.bundle.digest,
        "facts": list(made.facts),
        "agreement": None if made.agreement is None else asdict(made.agreement),
        "notes": list(made.notes),
        "to_check": list(made.bundle.card.to_check),
    }


def _say(made: Imported, like: Path) -> None:
    for fact in made.facts:
        typer.echo(fact)
    if made.agreement is not None:
        typer.echo(f"agrees with your framework: {made.agreement}")
    typer.echo(f"written: {made.bundle.path}")
    checks = [*made.notes, *made.bundle.card.to_check]
    if made.agreement is None:
        checks.append("nothing proves yet that it gives your framework's logits: give --expect")
    if checks:
        typer.echo(
            f"check these, say them again with --overwrite, or edit {made.bundle.path / 'model.json'}:"
        )
        for line in checks:
            typer.echo(f"  - {line}")
    typer.echo(f"run it: segflow run {like} --model {made.bundle.path} --out results")
