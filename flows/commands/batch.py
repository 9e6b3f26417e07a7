"""``segflow batch`` and ``segflow items``: many images."""

from __future__ import annotations

import inspect
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from flows.commands.run import lists, parse_tile, run

if TYPE_CHECKING:
    from rich.console import Console

    from flows.pipeline import RunResult
    from tasks.items.item import Listing
    from tasks.items.outcomes import Outcome
    from tasks.planning.request import Request

SOURCE = (
    "A glob in quotes (** for any depth), a folder of images, an archive's export of DICOM studies, a BIDS dataset, "
    "an nnU-Net or Decathlon folder, or a "
    "STAC ItemCollection."
)
Source = Annotated[str, typer.Argument(help=SOURCE, show_default=False)]
Match = Annotated[
    str | None, typer.Option(help="Only items whose name this pattern (* and ?) fits.", show_default=False)
]
Limit = Annotated[int | None, typer.Option(help="Only so many items, the first.", min=1, show_default=False)]
#: Options of ``run`` that say something of one item alone.
_ONE = ("image", "item", "window", "aoi")


def items(
    source: Source,
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="Whose channels decide what makes an item.", show_default=False),
    ],
    match: Match = None,
    limit: Limit = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the items that ``segflow batch`` would run.

    Exit codes: 0, 3 the source or the model is refused.
    """
    from flows.batch import make_batch
    from flows.commands.outcome import print_json, reported

    with reported(debug=False, as_json=as_json):
        listing = make_batch(source, model=model, out=Path(), match=match, limit=limit).listing
        if as_json:
            print_json(
                {
                    "kind": listing.kind,
                    "items": [
                        {"item": i.id, "parts": [p.model_dump() for p in i.source.parts]}
                        for i in listing.items
                    ],
                    "incomplete": [{"item": i.id, "reason": i.reason} for i in listing.incomplete],
                }
            )
            return
        for item in listing.items:
            typer.echo(f"{item.id}\t{' '.join(str(p) for p in item.source.parts)}")
        for lacking in listing.incomplete:
            typer.echo(f"{lacking.id}\tincomplete: {lacking.reason}")
        typer.echo(said(listing), err=True)


def said(listing: Listing) -> str:
    """One line: ``12 images``, ``12 items of BIDS``."""
    n, lacking = len(listing.items), len(listing.incomplete)
    what = f"item{'s' * (n != 1)} of {listing.kind}"
    text = f"{n} image{'s' * (n != 1)}" if listing.kind == "images" else f"{n} {what}"
    return f"{text}, {lacking} incomplete" if lacking else text


def batch(source: str, match: str | None = None, limit: int | None = None, **options: Any) -> None:
    """Segment many images, one after another; what is done already is left as it is.

    Takes the options of ``segflow run``. An item that is refused or fails costs itself alone:
    ``batch.json`` in the output folder and the table at the end say why.

    Exit codes: 0 all done, 2 usage, 3 the source or the model is refused, 4 an item is partial,
    failed or incomplete, 5 one is suspect, 1 anything else.
    """
    from rich.console import Console

    from flows.commands.logs import set_up_logging
    from flows.commands.outcome import print_json, reported
    from tasks.items.outcomes import as_json as json_of
    from tasks.items.outcomes import exit_code

    debug, as_json, direct = options.pop("debug"), options.pop("as_json"), options.pop("direct")
    console = Console(stderr=True)
    set_up_logging(console, debug=debug)
    with reported(debug=debug, as_json=as_json):
        made = lists(options["valid"], options["vectors"], options.pop("stored_units"))
        asked = {
            **options,
            **made,
            "tile": parse_tile(options["tile"]),
            "command": shlex.join(["segflow", *sys.argv[1:]]),
        }
        outcomes = execute(
            console, direct=direct, debug=debug, source=source, match=match, limit=limit, **asked
        )
        if as_json:
            print_json(json_of(outcomes))
        else:
            say(outcomes, console)
        raise typer.Exit(exit_code(outcomes))


def execute(
    console: Console,
    *,
    direct: bool,
    debug: bool,
    source: str,
    model: str,
    out: Path,
    match: str | None,
    limit: int | None,
    **options: Any,
) -> tuple[Outcome, ...]:
    """Runs a batch with a display: as plain functions, or as a Prefect flow."""
    from flows.batch import make_batch, run_batch
    from flows.environment import prepare_environment
    from flows.private import private_source
    from flows.progress import shown

    if not debug:
        # What goes wrong is said once, by this command, not three times with Prefect's tracebacks.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    prepare_environment()
    one = {**options, "server": False} if direct else options
    made = make_batch(source, model=model, out=out, match=match, limit=limit, **one)
    console.print(said(made.listing), style="dim", highlight=False)
    with shown(console) as progress:
        if direct:

            def plain(request: Request, _options: dict[str, Any]) -> RunResult:
                from flows.pipeline import run_item
                from flows.places import opened_place
                from flows.runner import DirectRunner
                from tasks.planning.preflight import preflight

                preflight(request)
                with opened_place(options.get("runner", "threads"), workers=request.workers) as place:
                    return run_item(request, runner=DirectRunner(place), progress=progress)

            return run_batch(made, plain)
        from flows.embedded import quiet_server

        with quiet_server(debug=debug):
            from flows.segment_batch import segment_batch

            if any(i.source.private for i in made.listing.items):
                hidden = private_source(source, match, options.get("command", ""), out=out)
                source, match, options["command"] = hidden["source"], hidden["match"], hidden["command"]
            return segment_batch(
                source=source, model=model, out=out, match=match, limit=limit, options=options
            )


def say(outcomes: tuple[Outcome, ...], console: Console) -> None:
    """The outcome for a person: what went wrong, then the count."""
    from rich.markup import escape
    from rich.table import Table

    from tasks.items.outcomes import count

    wrong = [o for o in outcomes if o.status != "done"]
    if wrong:
        table = Table("item", "status", "why", box=None, pad_edge=False)
        for o in wrong:
            table.add_row(escape(o.item), o.status, escape(o.reason))
        console.print(table)
    already = sum(o.already_done for o in outcomes)
    words = ", ".join(f"{n} {status}" for status, n in count(outcomes).items())
    console.print(f"{words} ({already} already done before)" if already else words, highlight=False)


def _options_of_run() -> None:
    """Gives ``batch`` the options of ``run`` that hold for many images."""
    hints = get_type_hints(run, include_extras=True)
    own = [
        inspect.Parameter("source", inspect.Parameter.KEYWORD_ONLY, annotation=Source),
        *(
            p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY)
            for p in inspect.signature(run).parameters.values()
            if p.name not in _ONE
        ),
        inspect.Parameter("match", inspect.Parameter.KEYWORD_ONLY, annotation=Match, default=None),
        inspect.Parameter("limit", inspect.Parameter.KEYWORD_ONLY, annotation=Limit, default=None),
    ]
    batch.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]
    batch.__annotations__ = {p.name: p.annotation for p in own}


_options_of_run()
