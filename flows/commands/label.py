"""``segflow label``: a training-ready data set from any bundle or classical method, to be corrected."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console


def label(
    images: Annotated[list[Path], typer.Argument(help="GeoTIFF or NIfTI files.", show_default=False)],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="A bundle's folder, a shipped bundle's name, or a classical method's.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the data set.", show_default=False)],
    workers: Annotated[int, typer.Option(help="Blocks computed at once.", min=1, max=32)] = 2,
    memory: Annotated[
        str | None, typer.Option(help="Memory that a run may use, as 2GB.", show_default=False)
    ] = None,
    direct: Annotated[
        bool, typer.Option("--direct", help="Run without Prefect, as plain functions.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on standard output.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug logs.")] = False,
) -> None:
    """Label images for training: images and masks in folders, with dataset.json and a list of what to look at.

    A second call adds images and renews masks of another model; masks that were edited stay.
    """
    from rich.console import Console

    from flows.commands.logs import set_up_logging
    from flows.commands.outcome import print_json, reported

    console = Console(stderr=True)
    set_up_logging(console, debug=debug)
    with reported(debug=debug, as_json=as_json):
        answer = label_images(
            console, images, model=model, out=out, direct=direct, debug=debug, workers=workers, memory=memory
        )
        if as_json:
            print_json(answer)
        else:
            for item, result in answer["items"].items():
                console.print(f"{item}: {_words(result)}", highlight=False, markup=False, soft_wrap=True)
            console.print(f"{answer['status']}: {out}", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(answer["exit_code"])


def label_images(
    console: Console, images: list[Path], *, model: str, out: Path, direct: bool, debug: bool, **options: Any
) -> dict[str, Any]:
    """Runs every image and takes its mask into the data set; an image that is refused costs itself alone.

    Raises:
        UsageError: Images of several kinds, or two of one name.
        InputError: The folder holds another data set, or not one image could be labelled.
        ModelError: The bundle is refused.
    """
    from flows.commands.run import execute
    from segmodels.bundles.bundle import load_bundle
    from tasks.errors import InputError, SegflowError
    from tasks.imagery.formats import NIFTI_SUFFIXES
    from tasks.labelling.dataset import LabelledSet

    ids = _ids(images)
    volumes = images[0].name.lower().endswith(NIFTI_SUFFIXES)
    bundle = _first_bundle(model, images)
    dataset = LabelledSet(out, load_bundle(bundle).card, volumes)
    dataset.check()
    if volumes and len(dataset.card.channels) > 1:
        raise InputError(
            f"model {dataset.card.name} takes {len(dataset.card.channels)} channels and volumes are labelled one "
            "channel each: give a model of one channel"
        )
    items: dict[str, dict[str, Any]] = {}
    worst: list[int] = []
    command = shlex.join(["segflow", *sys.argv[1:]])
    for item, image in ids.items():
        try:
            result = execute(
                console, direct=direct, debug=debug, image=image, model=bundle, out=dataset.runs, item=item,
                command=command, **options,
            )  # fmt: skip
            outcome = dataset.add(item, image)
        except SegflowError as error:
            items[item] = {"outcome": "refused", "reason": str(error)}
            worst.append(error.exit_code)
            continue
        items[item] = {
            "outcome": outcome,
            "status": result.status,
            "mask": str(dataset.mask_path(item)),
            "report": os.fspath(result.out / "report.html"),
        }
        worst.append(result.exit_code)
    if all(r["outcome"] == "refused" for r in items.values()):
        raise InputError("; ".join(dict.fromkeys(r["reason"] for r in items.values())))
    dataset.finish()
    code = next((c for c in worst if c in (1, 3, 6)), max(worst))  # what was refused before what is doubtful
    return {"status": "done" if not code else "partial", "out": str(out), "items": items, "exit_code": code}


def _first_bundle(model: str, images: list[Path]) -> str:
    """The bundle for the first image that can be opened; the others must have its channels."""
    from tasks.errors import InputError
    from tasks.planning.named import resolve_model

    reasons = []
    for image in images:
        try:
            return resolve_model(model, image)
        except InputError as error:
            reasons.append(str(error))
    raise InputError("; ".join(reasons))


def _ids(images: list[Path]) -> dict[str, Path]:
    from tasks.errors import UsageError
    from tasks.imagery.formats import NIFTI_SUFFIXES
    from tasks.work import item_id

    found: dict[str, Path] = {}
    for image in images:
        item = item_id(image)
        if item in found:
            raise UsageError(
                f"{image} and {found[item]} have one name, {item}: rename one, or label them apart"
            )
        found[item] = image
    if len({i.name.lower().endswith(NIFTI_SUFFIXES) for i in images}) > 1:
        raise UsageError("rasters and volumes make two data sets: label them apart")
    return found


def _words(result: dict[str, Any]) -> str:
    outcome = result["outcome"]
    if outcome == "refused":
        return f"refused: {result['reason']}"
    if outcome == "corrected":
        return f"kept, because {result['mask']} was edited or is not segflow's"
    return f"{outcome} {result['mask']} ({result['status']})"
