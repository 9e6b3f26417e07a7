"""``segflow polygons``: the regions of a mask, wherever it was made, as polygons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from tasks.planning.outputs import Vectors

_ENDINGS: dict[str, Vectors] = {
    ".parquet": "geoparquet",
    ".geoparquet": "geoparquet",
    ".gpkg": "gpkg",
    ".geojson": "geojson",
    ".json": "geojson",
}


def polygons(
    mask: Annotated[
        Path, typer.Argument(help="A GeoTIFF of class codes, uint8 or uint16.", show_default=False)
    ],
    out: Annotated[
        list[Path],
        typer.Option(
            "--out", "-o", help="File to write: .parquet, .gpkg or .geojson; repeatable.", show_default=False
        ),
    ],
    codes: Annotated[
        str | None,
        typer.Option(help="Classes wanted, as 1,2; by default those measured as regions, or all but 0."),
    ] = None,
    connectivity: Annotated[
        Literal["face", "full"] | None,
        typer.Option(help="Whether corners connect (full); by default as the run did, or full."),
    ] = None,
    simplify: Annotated[
        float, typer.Option(help="Tolerance of outlines in pixels; shared borders stay shared.", min=0)
    ] = 0,
    min_size: Annotated[int, typer.Option(help="Regions of fewer pixels get no polygon.", min=1)] = 1,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on standard output.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug logs.")] = False,
) -> None:
    """Make polygons of a mask's regions, in bounded memory: one region is one polygon with its holes.

    Exit codes: 0 done, 2 usage, 3 mask refused, 1 anything else.
    """
    from flows.commands.outcome import print_json, reported

    with reported(debug=debug, as_json=as_json):
        answer = make(
            mask,
            out,
            codes=codes,
            connectivity=connectivity,
            simplify=simplify,
            min_size=min_size,
            force=force,
        )
        if as_json:
            print_json(answer)
            return
        from tasks.reports.words import number_of

        for c in answer["classes"]:
            typer.echo(
                f"{c['name']}: {number_of(c['polygons'], 'polygon')} of {number_of(c['regions'], 'region')}, "
                f"{number_of(c['pixels'], 'pixel')}"
            )
        for path in answer["files"]:
            typer.echo(f"done: {path}")


def make(
    mask: Path,
    out: list[Path],
    *,
    codes: str | None,
    connectivity: str | None,
    simplify: float,
    min_size: int,
    force: bool,
) -> dict[str, Any]:
    """Polygonises one mask; see :func:`polygons`.

    Raises:
        UsageError: A file of no known format, one that is there, or codes that are none.
        InputError: The mask is refused.
        OutputError: A file cannot be written.
    """
    from tasks.planning.outputs import Outputs
    from tasks.vectors.make import make_polygons
    from tasks.vectors.mask import mask_info, meaning_of

    targets = _targets(mask, out, force=force)
    info = mask_info(mask)
    meaning = meaning_of(mask, info, codes=_codes(codes), connectivity=connectivity)
    outputs = Outputs(vectors=tuple(targets), simplify=simplify, min_size=min_size)
    made = make_polygons(mask, info, meaning, targets, outputs=outputs)
    return {"status": "done", "mask": str(mask), "files": [str(p) for p in targets.values()], **made}


def _targets(mask: Path, out: list[Path], *, force: bool) -> dict[Vectors, Path]:
    from tasks.errors import UsageError

    found: dict[Vectors, Path] = {}
    for path in out:
        kind = _ENDINGS.get(path.suffix.lower())
        if kind is None:
            raise UsageError(f"--out {path} says no format: end it with .parquet, .gpkg or .geojson")
        if kind in found:
            raise UsageError(f"--out {found[kind]} and {path} are one format: give each format once")
        if path.exists() and (not force or path.is_dir()):
            raise UsageError(f"{path} is there already: give another --out, or --force to replace it")
        found[kind] = path
    if len({p.absolute().parent for p in found.values()}) > 1:
        raise UsageError("the files of one command go into one folder: give --out in the same folder")
    return found


def _codes(text: str | None) -> tuple[int, ...]:
    from tasks.errors import UsageError

    if text is None:
        return ()
    parts = text.split(",")
    if not all(p.strip().isdigit() for p in parts):
        raise UsageError(f"--codes {text} are no codes: give numbers, as 1,2")
    return tuple(sorted({int(p) for p in parts}))
