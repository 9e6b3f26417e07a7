"""``segflow models show``: what a bundle is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.models.options import Debug, Json, by

if TYPE_CHECKING:
    from segmodels.bundles.card import Card


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
        ("tile, overlap", f"{by(card.tile)}, {_overlap(card)}; stride {card.stride}"),
        ("receptive radius", by(card.receptive_radius or ())),
        ("blend, padding", f"{card.blend}, {card.padding}"),
        ("post-processing", "; ".join(f"{s.kind} of {s.class_name}" for s in card.postprocess)),
        ("licence", card.licence),
        ("trained on", card.training.data),
        ("trained by", card.training.command),
        ("notes", card.training.notes),
        ("members", str(card.members) if card.members > 1 else ""),
        ("region of interest", _region(card)),
        ("made from", _derived(card)),
        ("to check", "\n".join(card.to_check)),
        *((f"score {k}", f"{v:.4f}" if isinstance(v, float) else str(v)) for k, v in card.scores.items()),
    ]
    for name, value in rows:
        if value:
            facts.add_row(name, escape(value))
    console.print(facts, highlight=False)


def _overlap(card: Card) -> str:
    if card.overlap is not None:
        return f"{card.overlap:g}"
    if card.receptive_radius is not None:
        return f"{by(card.receptive_radius)} pixels, the receptive field's radius"
    return "a quarter"


def _region(card: Card) -> str:
    roi = card.roi
    if roi is None:
        return ""
    return (
        f"{', '.join(roi.classes)} of the coarse stage at 1/{by(roi.coarsen)}, margin {by(roi.margin)} pixels"
    )


def _derived(card: Card) -> str:
    found = card.derived
    if found is None:
        return ""
    speed = "" if found.speed is None else f", {found.speed:.2f} times as fast on {found.machine}"
    return (
        f"{found.parent}: {found.how}; {found.agreement:.3%} of {found.pixels} pixels keep their class, probabilities "
        f"move by {found.difference:.2g}; {found.size:.0%} of its size{speed}"
    )
