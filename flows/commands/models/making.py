"""``segflow models make``: a bundle of a classical method. ``segflow models postprocess``: steps for a copy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder of the new bundle.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def make(
    method: Annotated[
        str,
        typer.Argument(
            help="otsu, multi-otsu, kmeans, region-growing, watershed, sobel, canny, slic, chan-vese or "
            "random-walker.",
            show_default=False,
        ),
    ],
    out: Out,
    channels: Annotated[
        str, typer.Option(help="The image's channels: how many, or their names as red,green,blue.")
    ] = "1",
    channel: Annotated[
        str | None,
        typer.Option(help="The one that a method of one channel looks at: name, or number from 1."),
    ] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes (multi-otsu, kmeans, slic).")] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another option of the method, as sigma=2; may be repeated."),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a bundle of a classical method, which needs no training."""
    from flows.commands.outcome import print_json, reported

    with reported(debug=debug, as_json=as_json):
        from segmodels.methods.make import make_classical

        names = _names(channels)
        given = dict(_option(text) for text in options or ())
        if classes is not None:
            given["classes"] = classes
        if channel is not None:
            given["channel"] = _position(channel, names)
        bundle = make_classical(method, out, channels=names, options=given)
    if as_json:
        print_json({"status": "done", "path": str(bundle.path), "digest": bundle.digest})
        return
    typer.echo(f"{bundle.card.name}: {bundle.path}")


def postprocess(
    model: Annotated[str, typer.Argument(help="A bundle's folder or a shipped bundle's name.")],
    out: Out,
    largest: Annotated[
        list[str] | None, typer.Option(help="Keep the largest component of a class: brain, or brain=2.")
    ] = None,
    minimum_size: Annotated[
        list[str] | None,
        typer.Option(help="Remove smaller components: water=25, water=2000m2 or lesion=10mm3."),
    ] = None,
    fill_holes: Annotated[
        list[str] | None, typer.Option(help="Fill holes of a class: brain, or up to a size: brain=500mm3.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Copy a bundle with post-processing of its masks, per class; each option may be repeated."""
    from flows.commands.outcome import print_json, reported

    with reported(debug=debug, as_json=as_json):
        from segmodels.bundles.copying import copy_with_postprocess, parse_steps

        steps = parse_steps(
            largest=largest or (), minimum_size=minimum_size or (), fill_holes=fill_holes or ()
        )
        bundle = copy_with_postprocess(model, out, steps=steps)
    if as_json:
        print_json({"status": "done", "path": str(bundle.path), "digest": bundle.digest})
        return
    for step in bundle.card.postprocess:
        typer.echo(json.dumps(step.model_dump()))
    typer.echo(str(bundle.path))


def _names(text: str) -> list[str]:
    from tasks.errors import UsageError

    names = [n.strip() for n in text.split(",")]
    if len(names) == 1 and names[0].isdigit():
        names = [f"band{i + 1}" for i in range(int(names[0]))]
    if not names or not all(names) or len(set(names)) != len(names):
        raise UsageError(
            f"--channels {text} names no channels: give how many, or different names as red,green,blue"
        )
    return names


def _position(text: str, names: list[str]) -> int:
    from tasks.errors import UsageError

    if text in names:
        return names.index(text)
    if text.isdigit() and 1 <= int(text) <= len(names):
        return int(text) - 1
    raise UsageError(
        f"--channel {text} is none of {', '.join(names)}: give one of them, or its number from 1"
    )


def _option(text: str) -> tuple[str, Any]:
    from tasks.errors import UsageError

    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text} gives no value: write it as {text}=1")
    try:
        return name.strip().replace("-", "_"), json.loads(value)
    except ValueError:
        return name.strip().replace("-", "_"), value
