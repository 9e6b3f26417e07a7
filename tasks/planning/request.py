"""What a user asks for: one image, one model, one output folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tasks.imagery.source import Source
from tasks.planning.outputs import Outputs
from tasks.planning.plan import Parameters
from tasks.work import WorkFolder


@dataclass(frozen=True)
class Request:
    """One item to segment.

    Attributes:
        image: What to segment.
        model: A bundle's folder, or the name of a shipped one.
        out: Output folder; the item's results go to ``out/item``.
        item: The item's id.
        parameters: What changes the result.
        block: Pixels of a block per model axis, None to choose; does not change the result.
        workers: Blocks in flight; with ``memory`` the most of them.
        memory: Bytes that the process tree may use, None for the machine's; does not change the result.
        server: Whether Prefect runs beside the steps, for the memory figure.
        processes: Workers of a cluster on this machine, each with its own model; 0: all are elsewhere; None: no
            cluster, this process computes.
        verify_content: Read every byte of the image to tell whether it is the same; addresses are else known by
            what their server says.
        force: Compute again even if this very result is published.
        aoi: File with the area of a preview, whose digest the parameters hold.
        command: How to reproduce the run, for the record.
        outputs: What is left besides the mask, its tables and its report.
    """

    image: Source
    model: str
    out: Path
    item: str
    parameters: Parameters = field(default_factory=Parameters)
    block: int | None = None
    workers: int = 2
    memory: int | None = None
    server: bool = True
    processes: int | None = None
    verify_content: bool = False
    force: bool = False
    aoi: Path | None = None
    command: str = ""
    outputs: Outputs = field(default_factory=Outputs)

    def image_digest(self) -> str:
        """What tells this state of the image from another, see :func:`tasks.publishing.digests.input_digest`."""
        from tasks.publishing.digests import input_digest

        return input_digest(self.image, reading=self.parameters.reading, verify=self.verify_content)

    def work(self, key: str = "") -> WorkFolder:
        """Where the run keeps its files."""
        return WorkFolder(self.out, self.item, key)
