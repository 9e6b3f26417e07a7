"""``segflow plan``: what ``segflow run`` with the same options would do, and cost."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from flows.commands.run import lists, parse_tile, run

if TYPE_CHECKING:
    from rich.table import Table

    from tasks.planning.priced import PricedPlan


def plan(**options: Any) -> None:
    """Show what a run would do and cost, without running it; nothing is left on the disk.

    Takes the options of ``segflow run``. Exit codes: 0 it fits, 2 usage, 3 input or model
    refused, or memory or disk too small: the sentence names a setting that fits.
    """
    from rich.console import Console

    from flows.commands.logs import set_up_logging
    from flows.commands.outcome import print_json, reported
    from flows.plan import plan_image
    from flows.request import make_request

    debug, as_json = options["debug"], options["as_json"]
    console = Console(stderr=True)
    set_up_logging(console, debug=debug)
    # What says how, not what, is no part of a plan.
    known = inspect.signature(make_request).parameters
    asked = {k: v for k, v in options.items() if k in known}
    with reported(debug=debug, as_json=as_json):
        priced = plan_image(
            **{
                **asked,
                "image": options["image"][0],
                "more": options["image"][1:],
                **lists(options["valid"], options["vectors"], options["stored_units"]),
                "tile": parse_tile(options["tile"]),
                "out": options["out"] or ".",
                "server": not options["direct"],
            }
        )
        if as_json:
            print_json(priced.as_json())
            return
        Console().print(table(priced))


def _options_of_run() -> None:
    """Gives ``plan`` the options of ``run``, so that a command line serves both."""
    hints = get_type_hints(run, include_extras=True)
    hints["out"] = Annotated[
        Path | None, typer.Option("--out", "-o", help="Where the run would write.", show_default=False)
    ]
    parameters = [
        p.replace(annotation=hints[p.name], default=None if p.name == "out" else p.default)
        for p in inspect.signature(run).parameters.values()
    ]
    plan.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    plan.__annotations__ = hints


_options_of_run()


def table(priced: PricedPlan) -> Table:
    """The plan for a person, one screen."""
    from rich.markup import escape
    from rich.table import Table

    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    for name, value in rows(priced):
        facts.add_row(name, escape(value))
    return facts


def rows(priced: PricedPlan) -> list[tuple[str, str]]:
    """Names and sentences of the table."""
    from tasks.planning.amount import say_bytes

    j = priced.as_json()
    skipped = j["tiles_skipped"]
    tiles = f"{j['tiles']:,}" + (", those without a valid pixel are skipped" if skipped is None else "")
    if j["borders"] == "recomputed":
        tiles += f"; {j['forward_passes']:,} forward passes, as borders are computed again"
    borders = {
        "stored": "border sums handed to the stitch",
        "recomputed": "border tiles computed again",
        "none": "no borders, as tiles are cropped",
    }[j["borders"]]
    finished = f", {j['blocks_finished']} of them finished earlier" if j["blocks_finished"] else ""
    gpu = j["memory_bytes"]["gpu"]
    seconds = {k: _duration(v) for k, v in j["seconds"].items()}
    first = f"coarse stage {seconds['coarse']}, " if "coarse" in seconds else ""
    out = [
        ("image", f"{j['image']['path']}: {j['image']['is']}"),
        *([("sampling", j["sampling"]["says"] + f": {_by(j['sampling']['shape'])} pixels")] if j["sampling"] else []),
        ("model", f"{j['model']['name']} {j['model']['version']}"),
        ("engine", f"{j['engine']['library']}, {j['engine']['precision']}, batches of {j['batch']}"),
        ("tile", f"{_by(j['tile'])}, overlap {_by(j['overlap'])} ({_source(j['overlap_from'])}), {j['blend']}"),
        ("tiles", tiles),
        ("blocks", f"{j['blocks']:,} of {_by(j['block'])} pixels, {j['workers']} at a time{finished}; {borders}"),
        ("reads", f"{say_bytes(j['decoded_bytes'])} decoded, {j['decoded_factor']:.2f} × the image; once more for statistics, once for regions"),
        ("memory", f"at most {say_bytes(j['memory_bytes']['host'])} with up to {j['regions_counted']:,} regions" + (f", of a GPU about {say_bytes(gpu)}" if gpu else "")),
        ("disk", f"at most {say_bytes(j['disk_bytes']['work'])} while it runs, {say_bytes(j['disk_bytes']['result'])} of mask before compression"),
        ("time", f"about {seconds['total']}: {first}statistics {seconds['statistics']}, blocks {seconds['segment']}, stitch {seconds['stitch']}, regions and report {seconds['regions']}"),
    ]  # fmt: skip
    if priced.coarse is not None:
        out.insert(2, ("coarse stage", _coarse_words(priced.coarse)))
        out.insert(
            3, ("fine stage", "at most all of what follows: its tiles are those that touch the region")
        )
    said = j["sampling"]["says"] if j["sampling"] else None
    return out + [("note", n) for n in (*j["notes"], *j["suspicions"]) if n != said]


def _coarse_words(coarse: PricedPlan) -> str:
    j = coarse.as_json()
    return (
        f"{j['model']['name']} {j['model']['version']} on {j['engine']['library']}, {j['engine']['precision']}: "
        f"{j['tiles']:,} tiles of {_by(j['tile'])} in {j['blocks']:,} blocks over {_by(j['image']['shape'])} pixels"
    )


def _source(overlap_from: str) -> str:
    return {
        "option": "as asked",
        "card": "the model's card",
        "receptive field": "the model's receptive field",
        "default": "a quarter, as nothing else is known",
    }[overlap_from]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _by(sizes: list[int]) -> str:
    return " × ".join(map(str, sizes))
