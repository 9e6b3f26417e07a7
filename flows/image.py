"""The Prefect flow ``segment-image``: one image in, one item with its report out."""

# ruff: noqa: E402 - settings must be in place before Prefect reads them

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, cast

from flows.environment import prepare_environment

prepare_environment()

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from pydantic import Field

from flows.artifacts import ArtifactProgress
from flows.embedded import use_embedded_server
from flows.pipeline import RunResult, run_item
from flows.places import opened_place
from flows.private import check_named_by_key
from flows.progress import attached
from flows.request import make_request
from flows.runner import MOST_IN_FLIGHT, PrefectRunner
from tasks.imagery.wanted import Units
from tasks.planning.outputs import Probabilities, Vectors
from tasks.privacy.hiding import hiding
from tasks.work import item_id

Engine = Literal["auto", "tensorflow", "jax", "torch", "openvino", "onnx", "method"]
Precision = Literal["auto", "float32", "bfloat16", "int8"]
Variants = Literal["none", "flips", "full"]
Spacing = Literal["card", "native"]
Blend = Literal["gaussian", "hann", "constant", "crop"]


def _run_name() -> str:
    asked = flow_run.parameters
    item = asked.get("item") or item_id(str(asked["image"]))
    part = " (preview)" if asked.get("window") or asked.get("aoi") else ""
    return f"{item}{part} with {Path(str(asked['model'])).name}"


_threads: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=MOST_IN_FLIGHT)


# Whoever calls the flow from Python gets the embedded server that ends with the process, too.
use_embedded_server()


@flow(
    name="segment-image",
    flow_run_name=_run_name,
    task_runner=cast(TaskRunner[PrefectFuture[Any]], _threads),
    persist_result=False,
)
def segment_image(
    image: Annotated[str | Path, Field(description="An image: a file, a folder or an address.")],
    model: Annotated[str, Field(description="A bundle's folder, or the name of a shipped bundle.")],
    out: Annotated[Path, Field(description="Output folder; results go to out/item.")],
    item: Annotated[
        str | None, Field(description="Item id; by default the file's name without extension.")
    ] = None,
    tile: Annotated[
        list[int] | None, Field(description="Tile size: one number, or one per model axis.")
    ] = None,
    overlap: Annotated[
        float | None, Field(description="Overlap of tiles: a fraction below 1, or pixels.")
    ] = None,
    block: Annotated[int | None, Field(description="Pixels of a block along each axis.", ge=1)] = None,
    workers: Annotated[int, Field(description="Blocks computed at once.", ge=1, le=32)] = 2,
    memory: Annotated[
        str | None,
        Field(
            description="Memory that the run may use, as 2GB; fewer or smaller blocks then. None: the machine's."
        ),
    ] = None,
    blend: Annotated[
        Blend | None, Field(description="How overlapping tiles are weighed; by default the card's way.")
    ] = None,
    cpu_fallback: Annotated[
        bool, Field(description="Go on with the CPU if a GPU's memory is not enough for one tile.")
    ] = False,
    runner: Annotated[
        str, Field(description="Where blocks run: threads, dask, or dask://host:port of a scheduler.")
    ] = "threads",
    engine: Annotated[Engine, Field(description="What runs the model.")] = "auto",
    precision: Annotated[Precision, Field(description="Arithmetic of the model.")] = "auto",
    variants: Annotated[
        Variants, Field(description="Average each tile over its mirror images, or also quarter turns.")
    ] = "none",
    verify_content: Annotated[
        bool, Field(description="Read every byte of the image to tell whether it is the same.")
    ] = False,
    spacing: Annotated[
        Spacing,
        Field(description="The model sees pixels of its card's spacing, or the image's own (native)."),
    ] = "card",
    force: Annotated[bool, Field(description="Compute again even if this result exists.")] = False,
    window: Annotated[
        str | None, Field(description="Only a box: 100:612,200:712, or world:/wgs84: coordinates.")
    ] = None,
    aoi: Annotated[
        Path | None, Field(description="Only the area of these polygons, or of this mask.")
    ] = None,
    more: Annotated[list[str], Field(description="Further files of the image, one per channel.")] = [],  # noqa: B006 - Prefect copies it
    bands: Annotated[
        str | None, Field(description="Bands in the model's order: names, numbers or wavelengths.")
    ] = None,
    valid: Annotated[list[str], Field(description="Rules that say which pixels were observed.")] = [],  # noqa: B006 - Prefect copies it
    units: Annotated[
        Units, Field(description="Values in the units of the model's card, or as they are stored.")
    ] = "card",
    layer: Annotated[
        str | None, Field(description="Subdataset, resolution level or series of a file with several.")
    ] = None,
    frame: Annotated[
        int | None, Field(description="The one frame of a 4-D image; by default every frame.", ge=0)
    ] = None,
    fill_missing: Annotated[
        bool, Field(description="Zeros for channels that are missing, where the model's card allows it.")
    ] = False,
    vectors: Annotated[list[Vectors], Field(description="Formats of the regions' polygons.")] = [],  # noqa: B006 - Prefect copies it
    simplify: Annotated[float, Field(description="Tolerance of outlines in pixels.", ge=0)] = 0,
    min_size: Annotated[int, Field(description="Regions of fewer pixels get no polygon.", ge=1)] = 1,
    probabilities: Annotated[
        Probabilities, Field(description="Type of the probabilities of every class.")
    ] = "none",
    private: Annotated[
        bool | None, Field(description="Only pseudonyms in logs, names and records; DICOM's default.")
    ] = None,
    command: Annotated[str, Field(description="How to repeat the run, for its record.")] = "",
) -> RunResult:
    """Segments one image: plan, blocks, stitch, regions, report, publish.

    Finished blocks of an interrupted run are reused; a result that exists already for the
    same input, bundle and parameters is not computed again.

    Raises:
        SegflowError, ModelError: One sentence with the remedy; nothing is published.
    """
    request = make_request(
        image=image,
        model=model,
        out=out,
        item=item,
        tile=tile,
        overlap=overlap,
        block=block,
        workers=workers,
        memory=memory,
        blend=blend,
        cpu_fallback=cpu_fallback,
        runner=runner,
        engine=engine,
        precision=precision,
        variants=variants,
        verify_content=verify_content,
        spacing=spacing,
        force=force,
        window=window,
        aoi=aoi,
        more=more,
        bands=bands,
        valid=valid,
        units=units,
        layer=layer,
        frame=frame,
        fill_missing=fill_missing,
        vectors=vectors,
        simplify=simplify,
        min_size=min_size,
        probabilities=probabilities,
        private=private,
        command=command,
    )
    check_named_by_key(request.image, private)
    with hiding(request.image), opened_place(runner, workers=workers) as place:
        return run_item(request, runner=PrefectRunner(place), progress=attached(ArtifactProgress()))
