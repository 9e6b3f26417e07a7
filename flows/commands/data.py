"""``segflow data``: what a data set holds, and whether a model can be trained on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:
    from tasks.datasets.dataset import Dataset, Layout
    from tasks.datasets.problems import Verification

app = typer.Typer(help="Show and verify data sets of images with masks.", no_args_is_help=True)

Path_ = Annotated[str, typer.Argument(metavar="DATASET", help="Folder of the data set.")]
Layout_ = Annotated[
    str, typer.Option(help="pairs, geotiff, voc, cityscapes, coco, nnunet, decathlon, instances, or auto.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
#: Rows of the table of problems; --json gives them all.
_MOST_ROWS = 60


@app.command("show")
def show(dataset: Path_, layout: Layout_ = "auto", as_json: Json = False, debug: Debug = False) -> None:
    """Show a data set: layout, items per split, classes, channels."""
    from flows.commands.outcome import print_json, reported

    with reported(debug=debug, as_json=as_json):
        opened = _opened(dataset, layout)
        described = _described(opened)
    if as_json:
        print_json(described)
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    values = {code: [v for v, c in opened.values.items() if c == code] for code in opened.values.values()}
    rows = [
        ("folder", described["root"]),
        ("layout", f"{opened.layout}, {opened.ndim}-D"),
        ("items", ", ".join(f"{n} {name}" for name, n in described["splits"].items())),
        ("without truth", str(described["without_truth"]) if described["without_truth"] else ""),
        ("channels", ", ".join(described["channels"])),
        *(
            ("class", f"{c.code} {c.name}" + (f" (values {values[c.code]})" if values.get(c.code) != [c.code] else ""))
            for c in opened.classes
        ),
        ("ignored values", ", ".join(str(v) for v in described["ignored"])),
        ("licence", described["licence"]),
    ]  # fmt: skip
    for name, value in rows:
        if value:
            table.add_row(name, escape(value))
    Console().print(table, highlight=False)


@app.command("verify")
def verify(dataset: Path_, layout: Layout_ = "auto", as_json: Json = False, debug: Debug = False) -> None:
    """Read every file of a data set once and name what would spoil a training; exit code 3 if anything would."""
    import tempfile
    from pathlib import Path

    from flows.commands.outcome import print_json, reported
    from tasks.datasets.verify import verify_dataset

    with reported(debug=debug, as_json=as_json):
        opened = _opened(dataset, layout)
        with tempfile.TemporaryDirectory(prefix="segflow-") as scratch:
            result = verify_dataset(opened, scratch=Path(scratch))
    if as_json:
        status = {"status": "refused" if result.refused else "done", "exit_code": 3 if result.refused else 0}
        print_json(status | result.model_dump())
    else:
        _print(result)
    if result.refused:
        raise typer.Exit(3)


def _opened(dataset: str, layout: str) -> Dataset:
    import warnings

    from rasterio.errors import NotGeoreferencedWarning

    from tasks.datasets.open import open_dataset

    # pictures have no place on Earth, and nobody expects them to
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    return open_dataset(dataset, layout=cast("Layout", layout))


def _described(opened: Dataset) -> dict[str, Any]:
    from collections import Counter

    from tasks.datasets.dataset import IGNORE
    from tasks.datasets.truths import UNKNOWN

    splits = Counter(item.split or "in no split" for item in opened.items)
    return {
        "root": str(opened.root),
        "layout": opened.layout,
        "ndim": opened.ndim,
        "items": len(opened.items),
        "splits": dict(splits),
        "without_truth": sum(item.truth is None for item in opened.items),
        "channels": [channel.name for channel in opened.channels],
        "classes": [card.model_dump() for card in opened.classes],
        "ignored": sorted(v for v, code in opened.values.items() if code == IGNORE and v != UNKNOWN),
        "licence": str(opened.details.get("licence") or ""),
    }


def _print(result: Verification) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if result.problems:
        table = Table(box=None, pad_edge=False)
        for heading in ("severity", "problem", "cause"):
            table.add_column(heading, no_wrap=heading != "cause")
        for problem in result.problems[:_MOST_ROWS]:
            table.add_row(problem.severity, problem.kind, escape(problem.cause))
        console.print(table, highlight=False)
        if len(result.problems) > _MOST_ROWS:
            console.print(
                f"… and {len(result.problems) - _MOST_ROWS} more (--json lists all)", highlight=False
            )
    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    for split in result.splits:
        table.add_column(split, justify="right")
    totals = {name: max(1, sum(c.pixels.values()) + c.ignored) for name, c in result.splits.items()}
    table.add_row("items", *(str(counts.items) for counts in result.splits.values()))
    for name in next(iter(result.splits.values())).pixels if result.splits else ():
        shares = (f"{counts.pixels[name] / totals[s]:.3%}" for s, counts in result.splits.items())
        table.add_row(escape(name), *shares)
    table.add_row("not known", *(f"{c.ignored / totals[s]:.3%}" for s, c in result.splits.items()))
    console.print(table, highlight=False)
    errors = len(result.errors)
    verdict = (
        f"{errors} {'error' if errors == 1 else 'errors'}: no training can start"
        if errors
        else "fit for training"
    )
    console.print(f"{result.items} items, layout {result.layout}: {verdict}", highlight=False)
