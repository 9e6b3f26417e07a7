"""Rollups for the orchestration UI: a progress bar, a table of classes, a picture of the result."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from tasks.planning.plan import Plan
from tasks.planning.step import Planned
from tasks.regions.step import SUMMARY

logger = logging.getLogger(__name__)

PICTURE_WIDTH = 640


class ArtifactProgress:
    """Writes artifacts of the current flow run; progress at most once per percent.

    They are for looking at only: if the server does not take one, that is logged and the
    run goes on.
    """

    def __init__(self) -> None:
        self._artifact: UUID | None = None
        self._done = self._total = 0

    def stage(self, name: str) -> None:
        """Stages show as task runs already."""

    def planned(self, planned: Planned, plan: Plan) -> None:
        """Creates the progress artifact, with reused blocks counted as done."""
        self._total = planned.blocks
        self._done = self._total - len(planned.todo)
        with optional("progress"):
            created = create_progress_artifact(
                progress=self._percent(), description=f"blocks of {plan.item} segmented"
            )
            self._artifact = created if isinstance(created, UUID) else None

    def block(self) -> None:
        """Counts a block."""
        before = int(self._percent())
        self._done += 1
        if self._artifact and (int(self._percent()) > before or self._done == self._total):
            with optional("progress"):
                update_progress_artifact(artifact_id=self._artifact, progress=self._percent())

    def published(self, folder: Path, record: dict[str, Any]) -> None:
        """Creates the table and the summary with its picture."""
        with optional("summary"):
            summary = json.loads((folder / SUMMARY).read_bytes())
            unit = summary["units"]["size"]
            create_table_artifact(
                table=[
                    {
                        "class": c["name"],
                        "code": c["code"],
                        "pixels": c["pixels"],
                        unit: c["size"],
                        "share": c["share"],
                    }
                    for c in summary["classes"]
                ],
                description=f"classes of {record['item']}",
            )
            create_markdown_artifact(
                markdown=_markdown(folder, record), description=f"summary of {record['item']}"
            )

    def _percent(self) -> float:
        return 100.0 * self._done / self._total if self._total else 100.0


@contextmanager
def optional(name: str) -> Iterator[None]:
    """What the server does not take is logged, and the run goes on."""
    try:
        yield
    except Exception as error:
        logger.warning("the %s is not shown in Prefect: %s: %s", name, type(error).__name__, error)


def _markdown(folder: Path, record: dict[str, Any]) -> str:
    lines = [
        f"# {record['item']}: {record['status']}",
        f"Model **{record['bundle']['name']}**, {record['plan']['tiles']} tiles, "
        f"{record['blocks']['computed']} blocks computed, {record['blocks']['reused']} reused.",
        *(f"- {w}" for w in record["warnings"]),
        # What a picture shows of a patient stays out of the database.
        *([] if record.get("private") else [f"![overview](data:image/png;base64,{_overview(folder)})"]),
        f"Report and mask: `{folder}`",
    ]
    return "\n\n".join(lines)


def _overview(folder: Path) -> str:
    return picture(folder / "overview.png")


def picture(path: Path) -> str:
    """A picture made small, as base64 of a PNG."""
    from PIL import Image

    with Image.open(path) as image:
        small = image.convert("RGB")
        small.thumbnail((PICTURE_WIDTH, PICTURE_WIDTH))
        small = small.quantize(64)
        stream = io.BytesIO()
        small.save(stream, "PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()
