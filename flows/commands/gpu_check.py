"""``segflow gpu-check``: what this machine computes with, whether it is right, and how fast it is."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from segmodels.engines.checking import Machine, Row


def gpu_check(
    model: Annotated[
        str, typer.Option("--model", "-m", help="A bundle's folder or a shipped bundle's name.")
    ] = "earth-water",
    batch: Annotated[int, typer.Option(help="Tiles per batch.", min=1)] = 1,
    tile: Annotated[
        str | None, typer.Option(help="Tile size: one number, or one per model axis; by default the card's.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on standard output.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug logs.")] = False,
) -> None:
    """Run a bundle's golden input on every engine and GPU of this machine, and measure each.

    An engine that disagrees is reported, not an error: the exit code is 0 if any engine agrees, 3 if none does.
    """
    from rich.console import Console

    from flows.commands.outcome import print_json, reported
    from flows.commands.run import parse_tile
    from flows.environment import prepare_environment
    from segmodels.bundles.bundle import load_bundle
    from segmodels.engines.checking import check_engines, look_at_machine
    from tasks.planning.plan import Parameters
    from tasks.planning.tiles import tile_sizes

    prepare_environment()
    with reported(debug=debug, as_json=as_json):
        bundle = load_bundle(model)
        asked = parse_tile(tile)
        parameters = Parameters(tile=tuple(asked) if asked else None)
        sizes, _ = tile_sizes(bundle.card, max(bundle.card.ndims), parameters)
        machine = look_at_machine()
        rows, missing = check_engines(bundle, machine, batch=batch, tile=sizes)
        if as_json:
            print_json(
                {
                    "status": "done" if any(r.measured.refused is None for r in rows) else "failed",
                    "bundle": bundle.card.name,
                    "digest": bundle.digest,
                    "machine": asdict(machine),
                    "batch": batch,
                    "tile": list(sizes),
                    "engines": [row.as_json() for row in rows],
                    "not_installed": missing,
                }
            )
        else:
            name = f"{bundle.card.name}, {batch} × {'×'.join(map(str, sizes))}"
            _show(Console(), machine, rows, missing, what=name)
        raise typer.Exit(0 if any(r.measured.refused is None for r in rows) else 3)


def _show(console: Console, machine: Machine, rows: list[Row], missing: list[str], *, what: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    native = "bfloat16 native" if machine.bfloat16 else "no native bfloat16"
    console.print(f"CPU: {machine.cpu}, {machine.cores} cores, {native}", markup=False, highlight=False)
    gpus = ", ".join(f"{i} {name}" for i, name in enumerate(machine.gpus))
    console.print(
        f"GPUs: {gpus}" if gpus else "No NVIDIA GPU here: CPU engines only.", markup=False, highlight=False
    )
    table = Table(title=what, title_justify="left", box=None, pad_edge=False)
    for heading in ("engine", "precision", "device", "library", "Mpixel/s", "of bare", "golden input"):
        number = heading in ("Mpixel/s", "of bare")
        table.add_column(heading, justify="right" if number else "left", no_wrap=heading != "golden input")
    for row in rows:
        m, speed, share = row.measured, row.mpixels_per_second, row.bare_fraction
        device = (
            row.device if row.device == "cpu" else f"{row.device} ({', '.join(row.seen[1:]) or 'not seen'})"
        )
        table.add_row(
            m.engine,
            m.precision,
            escape(device),
            m.library,
            "" if speed is None else f"{speed:.2f}",
            "" if share is None else f"{share:.2f}",
            "agrees" if m.refused is None else escape(f"refused: {m.refused}"),
        )
    console.print(table, highlight=False)
    if missing:
        console.print(f"not installed: {', '.join(missing)}", markup=False, highlight=False)
