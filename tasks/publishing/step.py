"""The publish step: the result folder takes its final name, work files go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.blocks.blockfile import BlockFile
from tasks.errors import InputError
from tasks.planning.plan import Plan
from tasks.postprocess.step import remove_flat
from tasks.publishing.digests import input_digest
from tasks.publishing.publish import publish, remove_work
from tasks.work import WorkFolder


def publish_item(work: WorkFolder, record: dict[str, Any]) -> None:
    """Publishes a complete result and removes its work files.

    Of a *partial* result the blocks without failures are kept, so that the next run only
    tries the others again.

    Raises:
        InputError: The image changed during the run.
        OutputError: The final folder cannot be written.
    """
    plan = Plan.load(work.plan)
    _check_unchanged(plan, record)
    publish(work, record=record)
    if record["status"] == "partial":
        for path in work.blocks.glob("*.blk"):
            if BlockFile(path).failures:
                path.unlink()
    remove_flat(work)
    remove_work(work.root, keep=_wanted(work) if record["status"] == "partial" else ())


def _check_unchanged(plan: Plan, record: dict[str, Any]) -> None:
    """Refuses a result of which nobody can say what it was made of.

    Where a server stopped answering, what it gave before is published as *partial*: the next run looks
    at the image again before it takes any of it.
    """
    image = plan.image
    known = record["input"]["digest"]
    try:
        digest = input_digest(
            image, reading=plan.parameters.reading, verify=image.remote and known.startswith("sha256:")
        )
    except InputError:
        if not image.remote or record["status"] != "partial":
            raise
        record["warnings"].append(
            f"{image} could not be fetched any more at the end: values of regions hold only what was read before"
        )
        return
    if digest != known:
        raise InputError(f"{image} changed while it was being segmented: run again")


def _wanted(work: WorkFolder) -> list[Path]:
    """What the next run goes on with: the blocks, and of two stages the region."""
    region = Plan.load(work.plan).region
    return [work.run] + ([region.folder] if region is not None else [])
