"""``segflow models two-stage``: a model that finds where to look, and one that segments there."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.models.options import Debug, Json, by


def two_stage(
    coarse: Annotated[
        str, typer.Argument(help="The bundle that finds the region, or the name of a classical method.")
    ],
    fine: Annotated[str, typer.Argument(help="The bundle that segments it.")],
    out: Annotated[Path, typer.Option(help="The new bundle's folder.")],
    roi_classes: Annotated[
        str | None,
        typer.Option(
            help="Classes of the coarse stage that make the region, as a,b; by default all but the first.",
            show_default=False,
        ),
    ] = None,
    margin: Annotated[
        str | None,
        typer.Option(
            help="Pixels added to the region on every side, one number or one per axis as 4,16,16; by default a "
            "quarter of the fine stage's tile.",
            show_default=False,
        ),
    ] = None,
    coarsen: Annotated[
        str | None,
        typer.Option(
            help="Pixels along an axis whose mean the coarse stage sees as one, as 4 or 1,4,4; by default 1.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Its name; by default the folder's.", show_default=False)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is there.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Join two models: the coarse one finds the region of interest, the fine one segments it alone."""
    from flows.commands.outcome import print_json, reported
    from flows.environment import prepare_environment
    from segmodels.bundles.bundle import CARD, load_bundle
    from segmodels.bundles.stages import write_two_stage
    from segmodels.importing.wishes import bundle_name, split_names
    from segmodels.methods.make import make_classical
    from segmodels.methods.names import CLASSICAL

    prepare_environment()
    with reported(debug=debug, as_json=as_json), tempfile.TemporaryDirectory(prefix="segflow-") as folder:
        finder: str | Path = coarse
        if coarse in CLASSICAL and not (Path(coarse) / CARD).is_file():
            channels = [c.name for c in load_bundle(fine).card.channels]
            finder = make_classical(coarse, Path(folder) / coarse, channels=channels).path
        made = write_two_stage(
            out,
            finder,
            fine,
            roi_classes=split_names(roi_classes, "--roi-classes"),
            margin=_sizes(margin, "--margin"),
            coarsen=_sizes(coarsen, "--coarsen"),
            name=bundle_name(name or out.name),
            overwrite=overwrite,
        )
    roi = made.card.roi
    assert roi is not None
    if as_json:
        print_json({"status": "done", "path": str(made.path), "digest": made.digest, "roi": roi.model_dump()})
        return
    coarser = "" if set(roi.coarsen) == {1} else f", found at 1/{by(roi.coarsen)} of the resolution"
    typer.echo(
        f"{made.card.name}: {made.card.description} Margin {by(roi.margin)} pixels{coarser}. Written: {made.path}"
    )


def _sizes(text: str | None, option: str) -> tuple[int, ...] | None:
    """``4`` or ``1,4,4``.

    Raises:
        UsageError: Anything else.
    """
    from tasks.errors import UsageError

    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f"{option} {text} is not a size: give one whole number, or one per axis as 1,4,4")
    return tuple(int(part) for part in parts)
