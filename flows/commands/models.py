"""``segflow models``: what bundles there are, what they are, whether they are whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands import models_make

if TYPE_CHECKING:
    from segmodels.bundles.card import Card

app = typer.Typer(help="List, show and verify model bundles.", no_args_is_help=True)

app.command("make")(models_make.make)
app.command("postprocess")(models_make.postprocess)

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


@app.command("list")
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


@app.command("show")
def show(
    model: Annotated[str, typer.Argument(help="A bundle's folder or a shipped bundle's name.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show a bundle's card: classes, channels, normalisation, scores, licence."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from flows.commands.outcome import reported
    from segmodels.bundles.bundle import load_bundle

    with reported(debug=debug, as_json=as_json):
        bundle = load_bundle(model)
    if as_json:
        typer.echo(
            json.dumps({"path": str(bundle.path), "digest": bundle.digest, **bundle.card.model_dump()})
        )
        return
    card, console = bundle.card, Console()
    console.print(f"{card.name} {card.version}  {card.description}", markup=False, highlight=False)
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="dim")
    facts.add_column()
    rows = [
        ("folder", str(bundle.path)),
        ("digest", bundle.digest),
        ("axes", ", ".join(f"{n}-D" for n in card.ndims)),
        ("classes", ", ".join(f"{c.code} {c.name}" for c in card.classes)),
        ("channels", ", ".join(f"{c.name} ({c.units})" if c.units else c.name for c in card.channels)),
        ("normalise", ", ".join(n.kind for n in card.normalise)),
        ("tile, overlap", f"{_by(card.tile)}, {_overlap(card)}; stride {card.stride}"),
        ("receptive radius", _by(card.receptive_radius or ())),
        ("blend, padding", f"{card.blend}, {card.padding}"),
        ("post-processing", "; ".join(f"{s.kind} of {s.class_name}" for s in card.postprocess)),
        ("licence", card.licence),
        ("trained on", card.training.data),
        ("trained by", card.training.command),
        ("notes", card.training.notes),
        *((f"score {k}", f"{v:.4f}" if isinstance(v, float) else str(v)) for k, v in card.scores.items()),
    ]
    for name, value in rows:
        if value:
            facts.add_row(name, escape(value))
    console.print(facts, highlight=False)


def _by(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes))


def _overlap(card: Card) -> str:
    if card.overlap is not None:
        return f"{card.overlap:g}"
    if card.receptive_radius is not None:
        return f"{_by(card.receptive_radius)} pixels, the receptive field's radius"
    return "a quarter"


@app.command("measure")
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
    typer.echo(f"{bundle.card.name}: 99 % of a changed pixel's effect stays within {_by(radius)} pixels")


@app.command("verify")
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
    from segmodels.engines.opening import open_engine

    prepare_environment()
    with reported(debug=debug, as_json=as_json):
        bundle = load_bundle(model)
        tile = bundle.card.tile
        opened = open_engine(bundle, engine=engine, precision=precision, batch=1, tile=tile, verify=True)
    if as_json:
        print_json(
            {"status": "done", "digest": bundle.digest, "engine": opened.name, "precision": opened.precision}
        )
        return
    typer.echo(
        f"{bundle.card.name}: digests match; golden input agrees on {opened.library}, {opened.precision}"
    )
