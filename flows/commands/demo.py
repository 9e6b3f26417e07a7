"""``segflow demo``: two real images from installed packages, segmented, measured, compared with the truth."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from flows.demo.compare import Comparison
    from flows.pipeline import RunResult

app = typer.Typer(
    help="Segment the Earth and a brain, and compare with the truth.", invoke_without_command=True
)

Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug logs.")]


@app.callback()
def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", "-o", help="Output folder.")] = Path("demo-out"),
    as_json: Annotated[bool, typer.Option("--json", help="Print demo.json on standard output.")] = False,
    debug: Debug = False,
) -> None:
    """Segment the Earth and a brain, and compare with the truth."""
    if context.invoked_subcommand:
        return
    from rich.console import Console

    from flows.commands.logs import set_up_logging
    from flows.commands.outcome import reported

    console = Console(stderr=True)
    set_up_logging(console, debug=debug)
    begin = time.perf_counter()
    with reported(debug=debug, as_json=as_json):
        from flows.commands.run import execute
        from flows.demo.brain import brain_nifti
        from flows.demo.compare import compare_brain, compare_earth
        from flows.demo.earth import earth_geotiff
        from tasks.files import atomic_write

        report: dict[str, object] = {}
        code = 0
        for name, model, source, make, compare in (
            ("earth", "earth-water", "earth.tif", earth_geotiff, compare_earth),
            ("brain", "brain-tissue", "brain.nii.gz", brain_nifti, compare_brain),
        ):
            console.rule(f"[bold]{name}[/]: {model}")
            image = out / "input" / source
            if not image.exists():
                make(image)
            options = {"image": image, "model": model, "out": out, "item": name}
            command = f"segflow run {image} --model {model} --out {out} --item {name}"
            result = execute(console, direct=False, debug=debug, command=command, **options)
            comparison = compare(result.out)
            show(console, result, comparison)
            code = max(code, result.exit_code)
            report[name] = {
                **result.as_json(),
                "rows": [r.as_json() for r in comparison.rows],
                "scores": comparison.scores,
            }
        report["seconds"] = round(time.perf_counter() - begin, 1)
        text = json.dumps(report, indent=1)
        with atomic_write(out / "demo.json") as stream:
            stream.write(text.encode())
        console.print(
            f"the same for machines: {out / 'demo.json'} ({report['seconds']} s in all)", highlight=False
        )
        if as_json:
            typer.echo(text)
        raise typer.Exit(code)


def show(console: Console, result: RunResult, comparison: Comparison) -> None:
    """The table of one demo, and where its files are."""
    from rich.table import Table

    from flows.commands.run import say

    table = Table(box=None, pad_edge=False)
    table.add_column("region")
    for heading in ("measured", "true", "ratio"):
        table.add_column(heading, justify="right")
    for row in comparison.rows:
        digits = ",.1f" if row.unit == "mL" else ",.0f"
        measured = f"joined to {row.joined_to}" if row.joined_to else f"{row.measured:{digits}} {row.unit}"
        ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
        table.add_row(row.name, measured, f"{row.true:{digits}} {row.unit}", ratio)
    console.print(table)
    scores = "   ".join(f"{k.replace('_', ' ')} {v:.4f}" for k, v in comparison.scores.items())
    console.print(f"where training never looked: {scores}", highlight=False, soft_wrap=True)
    say(result, console)
    for path in sorted(result.out.iterdir()):
        console.print(f"  {path}", highlight=False, style="dim", soft_wrap=True)


@app.command("train")
def train(
    name: Annotated[Literal["earth-water", "brain-tissue"], typer.Argument(help="Which shipped model.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the bundle.", show_default=False)],
    seed: Annotated[int, typer.Option(help="Of weights, tiles and augmentation.")] = 0,
    debug: Debug = False,
) -> None:
    """Train a shipped model anew from the demo images, in minutes on two cores."""
    from rich.console import Console

    from flows.commands.logs import set_up_logging
    from flows.commands.outcome import reported
    from flows.environment import prepare_environment

    prepare_environment()
    console = Console(stderr=True)
    set_up_logging(console, debug=debug)
    with reported(debug=debug, as_json=False):
        from flows.demo.brain_training import train_brain
        from flows.demo.earth_training import train_earth

        bundle = (train_earth if name == "earth-water" else train_brain)(out, seed=seed)
    for score, value in bundle.card.scores.items():
        console.print(f"{score} {value}", highlight=False)
    console.print(f"written: {bundle.path}", highlight=False)
