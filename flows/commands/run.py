"""``segflow run``: one image."""

from __future__ import annotations

import os
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from flows.pipeline import RunResult

Engine = Literal["auto", "tensorflow", "jax", "torch", "openvino", "onnx", "method"]
Precision = Literal["auto", "float32", "bfloat16", "int8"]
Variants = Literal["none", "flips", "full"]
Spacing = Literal["card", "native"]
Blend = Literal["gaussian", "hann", "constant", "crop"]


class VectorFormat(StrEnum):
    """Formats of polygons."""

    geoparquet = "geoparquet"
    gpkg = "gpkg"
    geojson = "geojson"


Probabilities = Literal["none", "uint8", "float16"]


def run(
    image: Annotated[
        list[str],
        typer.Argument(
            help="A file, a folder or an address; or several files, one per channel, as CHANNEL=FILE.",
            show_default=False,
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="A bundle's folder or a shipped bundle's name.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Output folder.", show_default=False)],
    item: Annotated[str | None, typer.Option(help="Name of the result; by default the file's.")] = None,
    tile: Annotated[
        str | None, typer.Option(help="Tile size: one number, or one per model axis as 64,128,128.")
    ] = None,
    overlap: Annotated[
        float | None,
        typer.Option(help="Overlap of neighbouring tiles: a fraction below 1, or pixels.", min=0),
    ] = None,
    block: Annotated[
        int | None, typer.Option(help="Pixels of a block along each axis (unit of resume).", min=1)
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            help="Preview of a box: ROWS,COLUMNS (or I,J,K) as 100:612,200:712; or "
            "world:XMIN,YMIN,XMAX,YMAX in the image's coordinates (mm of a volume: three and three); or "
            "wgs84:WEST,SOUTH,EAST,NORTH."
        ),
    ] = None,
    aoi: Annotated[
        Path | None,
        typer.Option(help="Preview of an area: a file with polygons, or a mask on the image's grid."),
    ] = None,
    workers: Annotated[int, typer.Option(help="Blocks computed at once.", min=1, max=32)] = 2,
    runner: Annotated[
        str,
        typer.Option(help="Where blocks run: threads, dask, or dask://HOST:PORT of a running scheduler."),
    ] = "threads",
    memory: Annotated[
        str | None,
        typer.Option(
            help="Memory that the run may use, as 2GB: smaller or fewer blocks at once, the same mask.",
            show_default=False,
        ),
    ] = None,
    blend: Annotated[
        Blend | None, typer.Option(help="How overlapping tiles are weighed; by default the card's way.")
    ] = None,
    cpu_fallback: Annotated[
        bool,
        typer.Option(
            "--cpu-fallback/--no-cpu-fallback",
            help="Go on with the CPU (needs openvino) if a GPU's memory is not enough for one tile.",
        ),
    ] = False,
    engine: Annotated[
        Engine, typer.Option(help="What runs the model; auto measures once per machine.")
    ] = "auto",
    precision: Annotated[Precision, typer.Option(help="Arithmetic of the model.")] = "auto",
    variants: Annotated[
        Variants,
        typer.Option(help="Average each tile over its mirror images, or also quarter turns (full); slower."),
    ] = "none",
    spacing: Annotated[
        Spacing,
        typer.Option(
            help="Pixels that the model sees: of its card's spacing where the image has another, or the "
            "image's own (native)."
        ),
    ] = "card",
    direct: Annotated[
        bool, typer.Option("--direct", help="Run without Prefect, as plain functions.")
    ] = False,
    bands: Annotated[
        str | None,
        typer.Option(
            help="Bands that are the model's channels, in its order: names, numbers from 1, or wavelengths, as "
            "B4,B3,842nm.",
            show_default=False,
        ),
    ] = None,
    valid: Annotated[
        list[str] | None,
        typer.Option(
            help="What says which pixels were observed: scl, qa_pixel, fmask, or FILE:RULE. Repeatable.",
            show_default=False,
        ),
    ] = None,
    stored_units: Annotated[
        bool, typer.Option("--stored-units", help="Take values as stored, not in the units of the card.")
    ] = False,
    layer: Annotated[
        str | None,
        typer.Option(help="Of a file or folder with several images: a subdataset, level or series."),
    ] = None,
    frame: Annotated[
        int | None, typer.Option(help="One frame of a 4-D image, from 0; else every frame.", min=0)
    ] = None,
    fill_missing: Annotated[
        bool,
        typer.Option(
            "--fill-missing",
            help="Zeros for channels that a study lacks, where the model's card allows it; the run is suspect then.",
        ),
    ] = False,
    vectors: Annotated[
        list[VectorFormat] | None,
        typer.Option(help="Also the regions' polygons. Repeatable.", show_default=False),
    ] = None,
    simplify: Annotated[
        float,
        typer.Option(help="Simplify their outlines by up to so many pixels, borders kept shared.", min=0),
    ] = 0,
    min_size: Annotated[int, typer.Option(help="No polygons for regions of fewer pixels.", min=1)] = 1,
    probabilities: Annotated[
        Probabilities, typer.Option(help="Also the probabilities of every class, as this type.")
    ] = "none",
    private: Annotated[
        bool | None,
        typer.Option(
            "--private/--no-private",
            help="Only pseudonyms in logs, names and records; by default for DICOM.",
        ),
    ] = None,
    verify_content: Annotated[
        bool,
        typer.Option(
            "--verify-content",
            help="Read every byte to tell whether the image is the same; by default addresses are known by version or ETag.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Compute again what is done already.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on standard output.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug logs.")] = False,
) -> None:
    """Segment one image: stitched mask, regions, report.

    Exit codes: 0 done or already done, 2 usage, 3 input or model refused, 4 partial, 5 suspect,
    6 another run owns the output, 1 anything else.
    """
    from rich.console import Console

    from flows.commands.logs import set_up_logging
    from flows.commands.outcome import print_json, reported

    console = Console(stderr=True)
    set_up_logging(console, debug=debug)
    with reported(debug=debug, as_json=as_json):
        result = execute(
            console,
            direct=direct,
            debug=debug,
            image=image[0],
            more=image[1:],
            **lists(valid, vectors, stored_units),
            model=model,
            out=out,
            item=item,
            tile=parse_tile(tile),
            overlap=overlap,
            block=block,
            window=window,
            aoi=aoi,
            workers=workers,
            memory=memory,
            blend=blend,
            cpu_fallback=cpu_fallback,
            runner=runner,
            engine=engine,
            precision=precision,
            variants=variants,
            bands=bands,
            layer=layer,
            frame=frame,
            fill_missing=fill_missing,
            simplify=simplify,
            min_size=min_size,
            probabilities=probabilities,
            private=private,
            verify_content=verify_content,
            spacing=spacing,
            force=force,
            command=shlex.join(["segflow", *sys.argv[1:]]),
        )
        if as_json:
            print_json(result.as_json())
        else:
            say(result, console)
        raise typer.Exit(result.exit_code)


def lists(valid: list[str] | None, vectors: list[VectorFormat] | None, stored_units: bool) -> dict[str, Any]:
    """What a command line says otherwise than the flow's parameters."""
    return {
        "valid": valid or [],
        "vectors": [v.value for v in vectors or []],
        "units": "stored" if stored_units else "card",
    }


def parse_tile(text: str | None) -> list[int] | None:
    """``"512"`` or ``"64,128,128"``.

    Raises:
        UsageError: Anything else.
    """
    from tasks.errors import UsageError

    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if not all(p.strip().isdigit() and int(p) > 0 for p in parts) or len(parts) > 3:
        raise UsageError(
            f"--tile {text} is not a size: give one positive number, or up to three as 64,128,128"
        )
    return [int(p) for p in parts]


def execute(console: Console, *, direct: bool, debug: bool, **options: Any) -> RunResult:
    """Runs one item with a display: already done, as plain functions, or as a Prefect flow."""
    from flows.environment import prepare_environment
    from flows.private import privatised_run

    if not debug:
        # What goes wrong is said once, by this command, not three times with Prefect's tracebacks.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    prepare_environment()
    with privatised_run(options) as asked:
        return _run_one(console, asked, direct=direct, debug=debug)


def _run_one(console: Console, options: dict[str, Any], *, direct: bool, debug: bool) -> RunResult:
    from flows.pipeline import already_done, run_item
    from flows.progress import shown
    from flows.request import make_request
    from tasks.planning.preflight import preflight

    request = make_request(**options, server=not direct)
    done = already_done(request)
    if done is not None:
        return done
    preflight(request)
    from flows.ahead import load_ahead

    with shown(console) as progress:
        if direct:
            from flows.places import opened_place
            from flows.runner import DirectRunner

            load_ahead()
            with opened_place(options.get("runner", "threads"), workers=request.workers) as place:
                return run_item(request, runner=DirectRunner(place), progress=progress)
        from flows.embedded import quiet_server

        with quiet_server(debug=debug):
            # Loads most of what a run needs, while the server starts beside it.
            from flows.image import segment_image

            load_ahead()
            return segment_image(**options)


def say(result: RunResult, console: Console) -> None:
    """The result for a person."""
    for warning in result.warnings:
        plain = warning in result.notes
        kind, style = ("note", "dim") if plain else ("warning", "yellow")
        console.print(f"{kind}: {warning}", style=style, highlight=False, markup=False)
    if result.already_done:
        line = f"already done in {result.seconds:.1f} s, nothing recomputed: {result.out}"
    else:
        reused = f", {result.reused_blocks} of them from an earlier run" if result.reused_blocks else ""
        line = f"{result.status} in {result.seconds:.1f} s ({result.blocks} block{'s' * (result.blocks != 1)}{reused}): {result.out}"
    console.print(line, highlight=False, markup=False, soft_wrap=True)
    if not result.already_done:
        console.print(f"open {result.out / 'report.html'}", highlight=False, markup=False, soft_wrap=True)
